//! The API, described for programs: OpenAPI 3.1, from the code.

use utoipa::{
    Modify, OpenApi,
    openapi::security::{Http, HttpAuthScheme, SecurityScheme},
};

use super::{routes, stream};
use crate::control::model::{Command, ErrorBody};

#[derive(OpenApi)]
#[openapi(
    info(
        title = "peerage control API",
        description = "Sees, asks and steers a running node. Every error is an `ErrorBody`; beside what is listed, any request but those for health can be answered with 401 (no token, or a wrong one), 403 (from another site) and 503 (the node is stopping).",
        license(name = "MIT OR Apache-2.0"),
    ),
    paths(
        routes::healthz, routes::readyz, routes::metrics, routes::openapi, routes::node, routes::config_in_force,
        routes::peers, routes::peer, routes::addresses, routes::journal, routes::why, routes::bans,
        stream::events, routes::dial, routes::disconnect, routes::ban, routes::unban, routes::send,
        routes::publish, routes::subscribe, routes::unsubscribe, routes::ask, stream::ask, routes::answer,
    ),
    components(schemas(Command, ErrorBody)),
    modifiers(&Token),
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

/// The description, as JSON.
#[must_use]
pub fn openapi_json() -> String {
    // It is made of texts and lists alone.
    let mut text = Api::openapi().to_pretty_json().unwrap_or_default();
    text.push('\n');
    text
}
