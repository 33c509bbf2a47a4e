//! Shared data: what can be asked of spaces and told to them.
//!
//! A space's name stands in the path, since it has no slash. A key can hold anything, so it is a parameter or
//! stands in the body.

mod lines;
pub(super) mod stream;
pub(super) mod upload;

use actix_web::{HttpResponse, http::header, web};
use serde::Deserialize;
use utoipa::IntoParams;

use super::{
    body::Said,
    routes::{Answer, Node, at},
};
use crate::{
    control::{
        KeyFilter,
        model::{
            ApiError, Changed, Code, DeleteRequest, ErrorBody, JoinRequest, KeyPage, LeaveRequest,
            SetRequest, SpaceEntry, SpaceList, ValueEntry, Written,
        },
    },
    spaces::JsonValue,
};

/// Adds all of it to the application.
pub(super) fn configure(config: &mut web::ServiceConfig) {
    let get = |path, route| at(path, "GET", route);
    let post = |path, route| at(path, "POST", route);
    let both = |path, get, post| at(path, "GET, POST", get).route(post);
    config
        .service(get("/v1/spaces", web::get().to(spaces)))
        .service(post("/v1/spaces/join", web::post().to(join)))
        .service(post("/v1/spaces/leave", web::post().to(leave)))
        .service(get("/v1/spaces/{name}/keys", web::get().to(keys)))
        .service(both("/v1/spaces/{name}/value", web::get().to(value), web::post().to(set)))
        .service(both("/v1/spaces/{name}/bytes", web::get().to(bytes), web::post().to(upload::set)))
        .service(post("/v1/spaces/{name}/delete", web::post().to(delete)))
        .service(get("/v1/spaces/{name}/export", web::get().to(stream::export)))
        .service(post("/v1/spaces/{name}/import", web::post().to(upload::import)))
        .service(get("/v1/spaces/{name}/watch", web::get().to(stream::watch)));
}

/// The spaces that the node keeps, also those that it has left.
#[utoipa::path(get, path = "/v1/spaces", tag = "spaces", responses(
    (status = 200, body = SpaceList), (status = 501, body = ErrorBody),
))]
pub(super) async fn spaces(node: Node) -> Answer<SpaceList> {
    node.spaces().await.map(web::Json)
}

/// Joins a space: the node holds all of it from now on. One that it has left comes with what it held.
#[utoipa::path(post, path = "/v1/spaces/join", operation_id = "join_space", tag = "spaces", request_body = JoinRequest, responses(
    (status = 200, description = "The node is in it.", body = SpaceEntry),
    (status = 400, body = ErrorBody), (status = 404, body = ErrorBody),
    (status = 409, description = "`other-writers`: it has one of that name with others; or `ambiguous`.", body = ErrorBody),
    (status = 413, body = ErrorBody),
    (status = 429, description = "`full`: there are as many spaces as may be.", body = ErrorBody),
    (status = 500, body = ErrorBody), (status = 501, body = ErrorBody), (status = 507, body = ErrorBody),
))]
pub(super) async fn join(node: Node, Said(body): Said<JoinRequest>) -> Answer<SpaceEntry> {
    node.join_space(body).await.map(web::Json)
}

/// Leaves a space. Its records stay on the disk unless they are to be forgotten.
#[utoipa::path(post, path = "/v1/spaces/leave", operation_id = "leave_space", tag = "spaces", request_body = LeaveRequest, responses(
    (status = 200, body = Changed),
    (status = 400, body = ErrorBody), (status = 413, body = ErrorBody), (status = 500, body = ErrorBody),
    (status = 501, body = ErrorBody), (status = 507, body = ErrorBody),
))]
pub(super) async fn leave(node: Node, Said(body): Said<LeaveRequest>) -> Answer<Changed> {
    node.leave_space(&body).await.map(web::Json)
}

/// Which keys are wanted.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct KeysParams {
    /// Those that begin so.
    prefix: Option<String>,
    /// Those behind this one, in the order of their bytes.
    after: Option<String>,
    /// No more than so many; 1,000 at most, and fewer if their values have more than 1 MiB.
    limit: Option<usize>,
}

/// The keys of a space, in the order of their bytes, page by page.
#[utoipa::path(get, path = "/v1/spaces/{name}/keys", tag = "spaces",
    params(("name" = String, Path, description = "The space."), KeysParams),
    responses(
        (status = 200, body = KeyPage),
        (status = 400, body = ErrorBody), (status = 404, body = ErrorBody),
        (status = 500, body = ErrorBody), (status = 501, body = ErrorBody), (status = 507, body = ErrorBody),
    ))]
pub(super) async fn keys(
    node: Node,
    name: web::Path<String>,
    params: web::Query<KeysParams>,
) -> Answer<KeyPage> {
    let KeysParams { prefix, after, limit } = params.into_inner();
    let filter = KeyFilter { prefix: prefix.unwrap_or_default(), after, limit };
    node.keys(&name, &filter).await.map(web::Json)
}

/// Which key.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct KeyParam {
    /// The key: 1 to 1,024 bytes.
    pub(super) key: String,
}

/// The value of a key, with who wrote it and when.
#[utoipa::path(get, path = "/v1/spaces/{name}/value", tag = "spaces",
    params(("name" = String, Path, description = "The space."), KeyParam),
    responses(
        (status = 200, body = ValueEntry),
        (status = 400, body = ErrorBody),
        (status = 404, description = "`not-found`: the key has no value. `no-such-space`: join it first.", body = ErrorBody),
        (status = 500, body = ErrorBody), (status = 501, body = ErrorBody), (status = 507, body = ErrorBody),
    ))]
pub(super) async fn value(
    node: Node,
    name: web::Path<String>,
    params: web::Query<KeyParam>,
) -> Answer<ValueEntry> {
    Ok(web::Json(ValueEntry::from(&node.value(&name, &params.key).await?)))
}

/// The bytes of a value, as they are.
#[utoipa::path(get, path = "/v1/spaces/{name}/bytes", tag = "spaces",
    params(("name" = String, Path, description = "The space."), KeyParam),
    responses(
        (status = 200, description = "The value.", body = [u8], content_type = "application/octet-stream"),
        (status = 400, body = ErrorBody),
        (status = 404, description = "`not-found`: the key has no value. `no-such-space`: join it first.", body = ErrorBody),
        (status = 500, body = ErrorBody), (status = 501, body = ErrorBody), (status = 507, body = ErrorBody),
    ))]
pub(super) async fn bytes(
    node: Node,
    name: web::Path<String>,
    params: web::Query<KeyParam>,
) -> Result<HttpResponse, ApiError> {
    let value = node.value(&name, &params.key).await?.value.unwrap_or_default();
    // What others have written is no page of this site.
    Ok(HttpResponse::Ok()
        .content_type("application/octet-stream")
        .insert_header((header::X_CONTENT_TYPE_OPTIONS, "nosniff"))
        .insert_header((header::CACHE_CONTROL, "no-store"))
        .body(value))
}

/// Gives a key a value, as text or in base64. The body is bounded like any other; `bytes` takes longer ones.
#[utoipa::path(post, path = "/v1/spaces/{name}/value", operation_id = "set_value", tag = "spaces", request_body = SetRequest,
    params(("name" = String, Path, description = "The space.")),
    responses(
        (status = 200, description = "It is on the disk, and on its way to the others.", body = Written),
        (status = 400, body = ErrorBody),
        (status = 403, description = "`not-a-writer`; or as for all requests.", body = ErrorBody),
        (status = 404, body = ErrorBody), (status = 409, body = ErrorBody), (status = 413, body = ErrorBody),
        (status = 500, body = ErrorBody), (status = 501, body = ErrorBody),
        (status = 507, description = "`space-full`, `writer-full`, or `disk-full`.", body = ErrorBody),
    ))]
pub(super) async fn set(
    node: Node,
    name: web::Path<String>,
    Said(body): Said<SetRequest>,
) -> Answer<Written> {
    let SetRequest { key, value, base64 } = body;
    let value = JsonValue { value, base64 }.bytes();
    let value = value.map_err(|error| ApiError::new(Code::BadRequest, error.to_string()))?;
    node.set(&name, &key, value).await.map(web::Json)
}

/// Deletes a key, everywhere.
#[utoipa::path(post, path = "/v1/spaces/{name}/delete", operation_id = "delete_key", tag = "spaces", request_body = DeleteRequest,
    params(("name" = String, Path, description = "The space.")),
    responses(
        (status = 200, body = Changed),
        (status = 400, body = ErrorBody),
        (status = 403, description = "`not-a-writer`; or as for all requests.", body = ErrorBody),
        (status = 404, body = ErrorBody), (status = 409, body = ErrorBody), (status = 413, body = ErrorBody),
        (status = 500, body = ErrorBody), (status = 501, body = ErrorBody),
        (status = 507, description = "`space-full`, `writer-full`, or `disk-full`.", body = ErrorBody),
    ))]
pub(super) async fn delete(
    node: Node,
    name: web::Path<String>,
    Said(body): Said<DeleteRequest>,
) -> Answer<Changed> {
    node.delete(&name, &body.key).await.map(web::Json)
}
