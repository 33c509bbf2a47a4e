//! The API, described for programs: OpenAPI 3.1, from the code.

use utoipa::{
    Modify, OpenApi,
    openapi::{
        ContentBuilder, Ref, ResponseBuilder,
        security::{Http, HttpAuthScheme, SecurityScheme},
    },
};

use super::{
    routes,
    spaces::{self, stream as data_stream, upload},
    stream,
};
use crate::control::model::{Command, ErrorBody};

#[derive(OpenApi)]
#[openapi(
    info(
        title = "peerage control API",
        description = "Sees, asks and steers a running node. Every error is an `ErrorBody`; beside what is listed, any request can be answered with 503 while the node is stopping.",
        license(name = "MIT OR Apache-2.0"),
    ),
    paths(
        routes::healthz, routes::readyz, routes::metrics, routes::openapi, routes::node, routes::config_in_force,
        routes::peers, routes::peer, routes::addresses, routes::journal, routes::why, routes::bans,
        stream::events, routes::dial, routes::disconnect, routes::ban, routes::unban, routes::send,
        routes::publish, routes::subscribe, routes::unsubscribe, routes::ask, stream::ask, routes::answer,
        spaces::spaces, spaces::join, spaces::leave, spaces::keys, spaces::value, spaces::set, spaces::bytes,
        upload::set, spaces::delete, data_stream::export, upload::import, data_stream::watch,
    ),
    components(schemas(Command, ErrorBody)),
    modifiers(&Token, &Refusals),
    security(("token" = [])),
)]
struct Api;

struct Token;

impl Modify for Token {
    fn modify(&self, api: &mut utoipa::openapi::OpenApi) {
        let scheme = SecurityScheme::Http(Http::new(HttpAuthScheme::Bearer));
        api.components.get_or_insert_default().add_security_scheme("token", scheme);
    }
}

/// What every request can be answered with that is not for health: the guard's refusals.
struct Refusals;

impl Modify for Refusals {
    fn modify(&self, api: &mut utoipa::openapi::OpenApi) {
        let body = || {
            let schema = Ref::from_schema_name("ErrorBody");
            ContentBuilder::new().schema(Some(schema)).build()
        };
        for (path, item) in &mut api.paths.paths {
            let needs_token = !matches!(path.as_str(), "/healthz" | "/readyz");
            let refusals = [
                ("401", "No token, or a wrong one.", needs_token),
                ("403", "From another site, or by a name that is not this machine's.", true),
            ];
            for operation in [&mut item.get, &mut item.post].into_iter().flatten() {
                for (status, words, is_possible) in refusals {
                    if is_possible {
                        let response = ResponseBuilder::new().description(words);
                        let response = response.content("application/json", body()).build();
                        operation.responses.responses.insert(status.to_owned(), response.into());
                    }
                }
            }
        }
    }
}

/// The description, as JSON.
#[must_use]
pub fn openapi_json() -> String {
    // It is made of texts and lists alone.
    let mut text = Api::openapi().to_pretty_json().unwrap_or_default();
    text.push('\n');
    text
}
