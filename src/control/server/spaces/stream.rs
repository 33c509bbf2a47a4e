//! What goes out piece by piece: an export, and the changes of a space.

use std::io;

use actix_web::{HttpRequest, HttpResponse, http::header, web};
use bytes::Bytes;
use futures_util::stream;
use serde::Deserialize;
use tokio::time::timeout;
use utoipa::IntoParams;

use crate::{
    control::{
        model::{ApiError, Code, ErrorBody, SpaceEvent},
        server::{
            routes::Node,
            stream::{HEARTBEAT, Pieces},
        },
        spaces::refused,
    },
    spaces::{Change, Line, SpaceError, Watch},
};

/// What is exported.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(in crate::control::server) struct ExportParams {
    /// Only keys that begin so.
    prefix: Option<String>,
}

/// All entries of a space as JSON lines, by key. A stream that breaks off without its last chunk is not whole.
#[utoipa::path(get, path = "/v1/spaces/{name}/export", operation_id = "export", tag = "spaces",
    params(("name" = String, Path, description = "The space."), ExportParams),
    responses(
        (status = 200, description = "Lines, each a `Line`.", body = Line, content_type = "application/x-ndjson"),
        (status = 400, body = ErrorBody), (status = 404, body = ErrorBody),
        (status = 429, description = "`full`: there are too many watches and exports.", body = ErrorBody),
        (status = 500, body = ErrorBody), (status = 501, body = ErrorBody),
    ))]
pub(in crate::control::server) async fn export(
    node: Node,
    name: web::Path<String>,
    params: web::Query<ExportParams>,
) -> Result<HttpResponse, ApiError> {
    let space = node.space(&name).await?;
    let place = node.data_stream()?;
    let prefix = params.into_inner().prefix.unwrap_or_default();
    let state = (space, place, Pieces::default(), None::<String>);
    let body = stream::try_unfold(state, move |(space, place, mut pieces, mut after)| {
        let prefix = prefix.clone();
        async move {
            if pieces.is_empty() {
                let next = space.export(&prefix, after.as_deref()).await.map_err(in_the_middle)?;
                let Some((text, last)) = next else { return Ok(None) };
                pieces.push(text.into());
                after = Some(last);
            }
            let piece = pieces.next().unwrap_or_default();
            Ok::<_, io::Error>(Some((piece, (space, place, pieces, after))))
        }
    });
    Ok(HttpResponse::Ok()
        .content_type("application/x-ndjson")
        .insert_header((header::CACHE_CONTROL, "no-store"))
        .streaming(body))
}

/// What was begun cannot be refused any more: the connection breaks off.
fn in_the_middle(error: SpaceError) -> io::Error {
    tracing::warn!(%error, "an export of the control API broke off");
    io::Error::other(error.to_string())
}

/// Which changes are wanted.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(in crate::control::server) struct WatchParams {
    /// Only of keys that begin so.
    prefix: Option<String>,
    /// Where to go on, for clients that cannot send the header `Last-Event-ID`: the number of a change. 0 for
    /// all that the space holds.
    #[param(format = "uint64")]
    since: Option<u64>,
}

/// The changes of a space, as server-sent events: `set`, `delete`, and `missed` when some before the next were
/// forgotten. The id of each is the number of the change; whoever comes back with it as `Last-Event-ID` is told
/// what came after it, also after the node was started anew. Of several changes of one key that are not told
/// yet, only the latest is.
#[utoipa::path(get, path = "/v1/spaces/{name}/watch", operation_id = "watch", tag = "spaces",
    params(
        ("name" = String, Path, description = "The space."), WatchParams,
        ("Last-Event-ID" = Option<String>, Header, description = "The id of the last change that was read."),
    ),
    responses(
        (status = 200, description = "A stream; the data of each is a `SpaceEvent`.", body = SpaceEvent, content_type = "text/event-stream"),
        (status = 400, body = ErrorBody), (status = 404, body = ErrorBody),
        (status = 429, description = "`full`: there are too many watches and exports.", body = ErrorBody),
        (status = 500, body = ErrorBody), (status = 501, body = ErrorBody),
    ))]
pub(in crate::control::server) async fn watch(
    node: Node,
    name: web::Path<String>,
    request: HttpRequest,
    params: web::Query<WatchParams>,
) -> Result<HttpResponse, ApiError> {
    let WatchParams { prefix, since } = params.into_inner();
    let sent = request.headers().get("last-event-id");
    let sent = sent.map(|id| number_of(&String::from_utf8_lossy(id.as_bytes()))).transpose()?;
    let space = node.space(&name).await?;
    let place = node.data_stream()?;
    let watch = space.watch(sent.or(since));
    let prefix = prefix.unwrap_or_default();
    // Something at once, so that the client sees that it is heard, and knows where it is.
    let hello = format!(": hello\nid: {}\n\n", watch.seen());
    let state = (watch, place, Pieces::from(Bytes::from(hello)), prefix);
    let body = stream::unfold(state, |(mut watch, place, mut pieces, prefix)| async move {
        if pieces.is_empty() {
            match timeout(HEARTBEAT, next(&mut watch, &prefix)).await {
                Ok(event) => pieces = event?,
                Err(_) => pieces.push(format!(":\nid: {}\n\n", watch.seen()).into()),
            }
        }
        Some((Ok::<_, io::Error>(pieces.next()?), (watch, place, pieces, prefix)))
    });
    Ok(HttpResponse::Ok()
        .content_type("text/event-stream")
        .insert_header((header::CACHE_CONTROL, "no-store"))
        .streaming(body))
}

fn number_of(id: &str) -> Result<u64, ApiError> {
    let bad = |_| ApiError::new(Code::BadRequest, format!("{id:?} is no change's number"));
    id.parse().map_err(bad)
}

/// The next change of a key that begins so, as it is sent; nothing when no more will come.
async fn next(watch: &mut Watch, prefix: &str) -> Option<Pieces> {
    loop {
        let event = match watch.next().await {
            Ok(Some(Change::Entry(entry))) if !entry.key.starts_with(prefix) => continue,
            Ok(Some(Change::Entry(entry))) => SpaceEvent::from(&entry),
            Ok(Some(Change::Missed)) => SpaceEvent::Missed,
            Ok(None) => return None,
            Err(error) => {
                // Whoever watches comes back, and is told why.
                let error = refused(error.into());
                tracing::warn!(%error, "a watch of the control API broke off");
                return None;
            }
        };
        let json = serde_json::to_string(&event).ok()?;
        let head = format!("id: {}\nevent: {}\ndata: ", watch.seen(), event.name());
        let mut pieces = Pieces::from(Bytes::from(head));
        pieces.push(json.into());
        pieces.push(Bytes::from_static(b"\n\n"));
        return Some(pieces);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_that_comes_back_says_the_number_of_a_change() {
        assert_eq!(number_of("7"), Ok(7));
        for bad in ["", "1f-7", "-1", "x"] {
            assert_eq!(number_of(bad).unwrap_err().code, Code::BadRequest, "{bad}");
        }
    }
}
