//! What can be asked for, and where.

use actix_web::{HttpResponse, web};
use serde::Deserialize;
use utoipa::IntoParams;

use super::{body::Said, openapi::openapi_json, other_method, spaces, stream};
use crate::control::{
    Control, JournalFilter,
    metrics::CONTENT_TYPE,
    model::{
        Addresses, ApiError, AskRequest, BanEntry, BanRequest, Bans, Changed, Command,
        Configuration, Delivered, DialRequest, Dialled, DisconnectRequest, ErrorBody, Gathered,
        Health, InquiryAnswer, Journal, NodeInfo, Outcome, PeerEntry, Peers, PublishRequest,
        Published, Readiness, SendRequest, TargetRequest, TopicRequest, Why,
    },
};

pub(super) type Node = web::Data<Control>;
pub(super) type Answer<T> = Result<web::Json<T>, ApiError>;

/// What is at a path, and how it may be asked for.
pub(super) fn at(path: &str, allow: &'static str, route: actix_web::Route) -> actix_web::Resource {
    let other = move |request| other_method(request, allow);
    web::resource(path).route(route).default_service(web::to(other))
}

/// Adds all of it to the application.
pub(super) fn configure(config: &mut web::ServiceConfig) {
    let get = |path, route| at(path, "GET", route);
    let post = |path, route| at(path, "POST", route);
    config
        .service(get("/healthz", web::get().to(healthz)))
        .service(get("/readyz", web::get().to(readyz)))
        .service(get("/metrics", web::get().to(metrics)))
        .service(get("/openapi.json", web::get().to(openapi)))
        .service(get("/v1/node", web::get().to(node)))
        .service(get("/v1/config", web::get().to(config_in_force)))
        .service(get("/v1/peers", web::get().to(peers)))
        .service(get("/v1/peers/{id}", web::get().to(peer)))
        .service(get("/v1/addresses", web::get().to(addresses)))
        .service(get("/v1/journal", web::get().to(journal)))
        .service(get("/v1/why", web::get().to(why)))
        .service(get("/v1/bans", web::get().to(bans)))
        .service(get("/v1/events", web::get().to(stream::events)))
        .service(post("/v1/dial", web::post().to(dial)))
        .service(post("/v1/disconnect", web::post().to(disconnect)))
        .service(post("/v1/ban", web::post().to(ban)))
        .service(post("/v1/unban", web::post().to(unban)))
        .service(post("/v1/send", web::post().to(send)))
        .service(post("/v1/publish", web::post().to(publish)))
        .service(post("/v1/subscribe", web::post().to(subscribe)))
        .service(post("/v1/unsubscribe", web::post().to(unsubscribe)))
        .service(post("/v1/ask", web::post().to(ask)))
        .service(post("/v1/ask/stream", web::post().to(stream::ask)))
        .service(post("/v1/answer", web::post().to(answer)))
        .configure(spaces::configure);
}

/// Whether the process answers.
#[utoipa::path(get, path = "/healthz", tag = "health", responses((status = 200, body = Health)), security(()))]
pub(super) async fn healthz() -> web::Json<Health> {
    web::Json(Health { ok: true })
}

/// Whether the node can be used: it listens, and has a peer or is a first node.
#[utoipa::path(get, path = "/readyz", tag = "health", responses(
    (status = 200, description = "It is ready.", body = Readiness),
    (status = 503, description = "It is not.", body = Readiness),
), security(()))]
pub(super) async fn readyz(node: Node) -> HttpResponse {
    let readiness = node.readiness().await;
    let mut response =
        if readiness.ready { HttpResponse::Ok() } else { HttpResponse::ServiceUnavailable() };
    response.json(readiness)
}

/// The node's figures, for Prometheus.
#[utoipa::path(get, path = "/metrics", tag = "node", responses(
    (status = 200, description = "OpenMetrics 1.0", body = String, content_type = "application/openmetrics-text"),
))]
pub(super) async fn metrics(node: Node) -> HttpResponse {
    HttpResponse::Ok().content_type(CONTENT_TYPE).body(node.metrics().await)
}

/// This document.
#[utoipa::path(get, path = "/openapi.json", tag = "node", responses(
    (status = 200, description = "OpenAPI 3.1", body = serde_json::Value),
))]
pub(super) async fn openapi() -> HttpResponse {
    HttpResponse::Ok().content_type("application/json").body(openapi_json())
}

/// The node itself.
#[utoipa::path(get, path = "/v1/node", tag = "node", responses((status = 200, body = NodeInfo)))]
pub(super) async fn node(node: Node) -> web::Json<NodeInfo> {
    web::Json(node.info().await)
}

/// The settings in force, and where each comes from.
#[utoipa::path(get, path = "/v1/config", tag = "node", responses((status = 200, body = Configuration)))]
pub(super) async fn config_in_force(node: Node) -> web::Json<Configuration> {
    web::Json(Configuration { toml: node.about.settings.clone() })
}

/// The connected peers, by id.
#[utoipa::path(get, path = "/v1/peers", tag = "peers", responses((status = 200, body = Peers)))]
pub(super) async fn peers(node: Node) -> web::Json<Peers> {
    web::Json(node.peers().await)
}

/// One connected peer.
#[utoipa::path(get, path = "/v1/peers/{id}", tag = "peers",
    params(("id" = String, Path, description = "Its id, or how no other peer's begins.")),
    responses(
        (status = 200, body = PeerEntry),
        (status = 400, body = ErrorBody), (status = 404, body = ErrorBody), (status = 409, body = ErrorBody),
    ))]
pub(super) async fn peer(node: Node, id: web::Path<String>) -> Answer<PeerEntry> {
    node.peer(&id).await.map(web::Json)
}

/// What the node knows of addresses, and from whom.
#[utoipa::path(get, path = "/v1/addresses", tag = "peers", responses((status = 200, body = Addresses)))]
pub(super) async fn addresses(node: Node) -> web::Json<Addresses> {
    web::Json(node.addresses().await)
}

/// Which decisions are wanted.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct JournalParams {
    /// About this node: its id, or how no other known one begins.
    id: Option<String>,
    /// About this address (`host:port`), or this IP address at any port.
    addr: Option<String>,
    /// Of this kind.
    kind: Option<String>,
    /// From this time on, in milliseconds since the Unix epoch.
    #[param(format = "uint64")]
    since_ms: Option<u64>,
    /// No more than so many, the latest; 1,000 at most.
    limit: Option<usize>,
}

/// What the node decided and why, oldest first.
#[utoipa::path(get, path = "/v1/journal", tag = "node", params(JournalParams), responses(
    (status = 200, body = Journal),
    (status = 400, body = ErrorBody), (status = 404, body = ErrorBody), (status = 409, body = ErrorBody),
))]
pub(super) async fn journal(node: Node, params: web::Query<JournalParams>) -> Answer<Journal> {
    let JournalParams { id, addr, kind, since_ms, limit } = params.into_inner();
    node.journal(&JournalFilter { id, addr, kind, since_ms, limit }).await.map(web::Json)
}

/// Whom an explanation is about.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct WhyParams {
    /// A node id (or how no other known one begins), or an address (`host:port`).
    about: String,
}

/// All that is known and was done about a node or an address.
#[utoipa::path(get, path = "/v1/why", tag = "peers", params(WhyParams), responses(
    (status = 200, body = Why),
    (status = 400, body = ErrorBody), (status = 404, body = ErrorBody), (status = 409, body = ErrorBody),
))]
pub(super) async fn why(node: Node, params: web::Query<WhyParams>) -> Answer<Why> {
    node.why(&params.about).await.map(web::Json)
}

/// Who is not wanted.
#[utoipa::path(get, path = "/v1/bans", tag = "bans", responses((status = 200, body = Bans)))]
pub(super) async fn bans(node: Node) -> web::Json<Bans> {
    web::Json(node.bans().await)
}

async fn execute(node: &Node, command: Command) -> Answer<Outcome> {
    node.execute(command).await.map(web::Json)
}

/// Connects to an address.
#[utoipa::path(post, path = "/v1/dial", tag = "peers", request_body = DialRequest, responses(
    (status = 200, description = "There is a session.", body = Dialled),
    (status = 400, body = ErrorBody), (status = 502, description = "`dial-failed`, and why.", body = ErrorBody),
))]
pub(super) async fn dial(node: Node, Said(body): Said<DialRequest>) -> Answer<Outcome> {
    execute(&node, Command::Dial(body)).await
}

/// Ends the session with a peer.
#[utoipa::path(post, path = "/v1/disconnect", tag = "peers", request_body = DisconnectRequest, responses(
    (status = 200, body = Changed),
    (status = 400, body = ErrorBody), (status = 404, body = ErrorBody), (status = 409, body = ErrorBody),
))]
pub(super) async fn disconnect(node: Node, Said(body): Said<DisconnectRequest>) -> Answer<Outcome> {
    execute(&node, Command::Disconnect(body)).await
}

/// Bans a node, an address or a subnet.
#[utoipa::path(post, path = "/v1/ban", tag = "bans", request_body = BanRequest, responses(
    (status = 200, body = BanEntry),
    (status = 400, body = ErrorBody), (status = 404, body = ErrorBody), (status = 409, body = ErrorBody),
    (status = 429, description = "`full`: there are as many bans as may be.", body = ErrorBody),
    (status = 500, description = "`not-kept`: it holds for this run only.", body = ErrorBody),
))]
pub(super) async fn ban(node: Node, Said(body): Said<BanRequest>) -> Answer<Outcome> {
    execute(&node, Command::Ban(body)).await
}

/// Takes a ban, or a discouragement, back.
#[utoipa::path(post, path = "/v1/unban", tag = "bans", request_body = TargetRequest, responses(
    (status = 200, body = Changed),
    (status = 400, body = ErrorBody), (status = 404, body = ErrorBody), (status = 409, body = ErrorBody),
))]
pub(super) async fn unban(node: Node, Said(body): Said<TargetRequest>) -> Answer<Outcome> {
    execute(&node, Command::Unban(body)).await
}

/// Sends a text to one node, wherever in the network it is.
#[utoipa::path(post, path = "/v1/send", tag = "messages", request_body = SendRequest, responses(
    (status = 200, description = "The node has it.", body = Delivered),
    (status = 400, body = ErrorBody), (status = 404, body = ErrorBody), (status = 409, body = ErrorBody),
    (status = 413, body = ErrorBody),
    (status = 502, description = "`no-route`, or `refused` and why.", body = ErrorBody),
    (status = 503, body = ErrorBody),
    (status = 504, description = "`timeout`: it may have been delivered.", body = ErrorBody),
))]
pub(super) async fn send(node: Node, Said(body): Said<SendRequest>) -> Answer<Outcome> {
    execute(&node, Command::Send(body)).await
}

/// Publishes a text to all nodes that take its topic.
#[utoipa::path(post, path = "/v1/publish", tag = "messages", request_body = PublishRequest, responses(
    (status = 200, body = Published),
    (status = 400, body = ErrorBody), (status = 413, body = ErrorBody), (status = 429, body = ErrorBody),
))]
pub(super) async fn publish(node: Node, Said(body): Said<PublishRequest>) -> Answer<Outcome> {
    execute(&node, Command::Publish(body)).await
}

/// Takes the messages of a topic, until that is taken back: they come as events.
#[utoipa::path(post, path = "/v1/subscribe", tag = "messages", request_body = TopicRequest, responses(
    (status = 200, body = Changed),
    (status = 400, body = ErrorBody), (status = 429, body = ErrorBody),
))]
pub(super) async fn subscribe(node: Node, Said(body): Said<TopicRequest>) -> Answer<Outcome> {
    execute(&node, Command::Subscribe(body)).await
}

/// Takes them no longer, unless somebody listens to them.
#[utoipa::path(post, path = "/v1/unsubscribe", tag = "messages", request_body = TopicRequest, responses(
    (status = 200, body = Changed), (status = 400, body = ErrorBody),
))]
pub(super) async fn unsubscribe(node: Node, Said(body): Said<TopicRequest>) -> Answer<Outcome> {
    execute(&node, Command::Unsubscribe(body)).await
}

/// Asks other nodes, and answers with what came back when the question's time is up.
#[utoipa::path(post, path = "/v1/ask", tag = "messages", request_body = AskRequest, responses(
    (status = 200, body = Gathered),
    (status = 400, body = ErrorBody), (status = 413, body = ErrorBody), (status = 429, body = ErrorBody),
    (status = 503, body = ErrorBody),
))]
pub(super) async fn ask(node: Node, Said(body): Said<AskRequest>) -> Answer<Outcome> {
    execute(&node, Command::Ask(body)).await
}

/// Answers a question of another node, which came as an `inquiry` event.
#[utoipa::path(post, path = "/v1/answer", tag = "messages", request_body = InquiryAnswer, responses(
    (status = 200, body = Changed),
    (status = 400, body = ErrorBody), (status = 404, body = ErrorBody), (status = 413, body = ErrorBody),
))]
pub(super) async fn answer(node: Node, Said(body): Said<InquiryAnswer>) -> Answer<Outcome> {
    execute(&node, Command::Answer(body)).await
}
