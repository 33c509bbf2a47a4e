//! What comes in at length: a value of up to 1 MiB, and lines without an end in sight.

use actix_web::web::{self, Bytes, BytesMut};
use futures_util::StreamExt as _;
use serde::Deserialize;
use tokio::time::timeout;
use utoipa::IntoParams;

use super::{KeyParam, lines::Lines};
use crate::{
    control::{
        model::{ApiError, Code, ErrorBody, ImportReport, Written},
        server::{
            REQUEST_TIMEOUT,
            routes::{Answer, Node},
        },
        spaces::refused,
    },
    spaces::MAX_VALUE,
};

/// Gives a key a value: the body as it is, of up to 1 MiB, whatever type it is said to have.
#[utoipa::path(post, path = "/v1/spaces/{name}/bytes", operation_id = "set_bytes", tag = "spaces",
    params(("name" = String, Path, description = "The space."), KeyParam),
    request_body(content = [u8], description = "The value.", content_type = "application/octet-stream"),
    responses(
        (status = 200, description = "It is on the disk, and on its way to the others.", body = Written),
        (status = 400, body = ErrorBody),
        (status = 403, description = "`not-a-writer`; or as for all requests.", body = ErrorBody),
        (status = 404, body = ErrorBody), (status = 409, body = ErrorBody), (status = 413, body = ErrorBody),
        (status = 500, body = ErrorBody), (status = 501, body = ErrorBody),
        (status = 503, description = "`busy`: too many values come in at once.", body = ErrorBody),
        (status = 507, description = "`space-full`, `writer-full`, or `disk-full`.", body = ErrorBody),
    ))]
pub(in crate::control::server) async fn set(
    node: Node,
    name: web::Path<String>,
    params: web::Query<KeyParam>,
    mut body: web::Payload,
) -> Answer<Written> {
    let _place = node.upload()?;
    let value = timeout(REQUEST_TIMEOUT, whole(&mut body)).await.or(Err(late()))??;
    node.set(&name, &params.key, value).await.map(web::Json)
}

/// Where an import begins.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(in crate::control::server) struct ImportParams {
    /// The number of the first line, for what is said of lines; 1 if it is left out.
    #[param(minimum = 1)]
    line: Option<u32>,
}

/// Writes the entries of JSON lines, as `export` gives them: `{"key": "a", "value": "text"}`, or `base64` in
/// place of `value`. What else a line says is not read: this node is the writer, and now is the time.
///
/// The body may have any length, as long as some of it comes every 5 seconds and no line has more than 8 MiB.
/// It is written piece by piece. When a line is refused, those before it were written.
#[utoipa::path(post, path = "/v1/spaces/{name}/import", operation_id = "import", tag = "spaces",
    params(("name" = String, Path, description = "The space."), ImportParams),
    request_body(content = String, description = "Lines, each an object.", content_type = "application/x-ndjson"),
    responses(
        (status = 200, description = "All of it is on the disk.", body = ImportReport),
        (status = 400, description = "A line is none. The message says which.", body = ErrorBody),
        (status = 403, description = "`not-a-writer`; or as for all requests.", body = ErrorBody),
        (status = 404, body = ErrorBody), (status = 409, body = ErrorBody), (status = 413, body = ErrorBody),
        (status = 500, body = ErrorBody), (status = 501, body = ErrorBody),
        (status = 503, description = "`busy`: too many values come in at once.", body = ErrorBody),
        (status = 507, description = "`space-full`, `writer-full`, or `disk-full`.", body = ErrorBody),
    ))]
pub(in crate::control::server) async fn import(
    node: Node,
    name: web::Path<String>,
    params: web::Query<ImportParams>,
    mut body: web::Payload,
) -> Answer<ImportReport> {
    let space = node.space(&name).await?;
    let _place = node.upload()?;
    let first = params.line.and_then(|line| usize::try_from(line).ok());
    let mut lines = Lines::from(first.unwrap_or(1));
    let mut report = ImportReport::default();
    loop {
        let bytes = timeout(REQUEST_TIMEOUT, body.next()).await.or(Err(late()))?;
        let is_end = bytes.is_none();
        if let Some(bytes) = bytes {
            lines.add(&bytes.map_err(broken)?);
        }
        while let Some((text, first)) = lines.take(is_end)? {
            report += space.import(&text, first).await.map_err(refused)?;
        }
        if is_end {
            return Ok(web::Json(report));
        }
    }
}

/// A whole value.
async fn whole(body: &mut web::Payload) -> Result<Bytes, ApiError> {
    let mut value = BytesMut::new();
    while let Some(bytes) = body.next().await {
        let bytes = bytes.map_err(broken)?;
        if value.len() + bytes.len() > MAX_VALUE {
            let message = format!("a value has at most {MAX_VALUE} bytes");
            return Err(ApiError::new(Code::TooLarge, message));
        }
        value.extend_from_slice(&bytes);
    }
    Ok(value.freeze())
}

fn broken(error: actix_web::error::PayloadError) -> ApiError {
    ApiError::new(Code::BadRequest, error.to_string())
}

fn late() -> ApiError {
    ApiError::new(Code::BadRequest, format!("the body did not come within {REQUEST_TIMEOUT:?}"))
}
