//! What is answered piece by piece: events, and the answers to a question.

use std::{
    collections::{BTreeSet, VecDeque},
    convert::Infallible,
    sync::Arc,
    time::Duration,
};

use actix_web::{HttpRequest, HttpResponse, http::header, web};
use bytes::Bytes;
use futures_util::stream;
use serde::Deserialize;
use tokio::time::timeout;
use utoipa::IntoParams;

use super::body::Said;
use crate::control::{
    Control,
    commands::{line_of, topic},
    listener::{Listener, Next, Wish, gap},
    model::{ApiError, AskLine, AskRequest, Code, ErrorBody, Event},
    ring::Told,
};

/// The longest time without a word: a comment then tells that the connection lives.
pub(super) const HEARTBEAT: Duration = Duration::from_secs(15);

/// How much is sent at a time, in bytes.
pub(super) const PIECE: usize = 4096;

/// Which events are wanted.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct EventParams {
    /// Only events of these names, with commas between: `peer-up,peer-down`.
    only: Option<String>,
    /// Only what is published on these topics, with commas between. They are taken as long as somebody
    /// listens, and a minute longer.
    topics: Option<String>,
    /// Where to go on, for clients that cannot send the header `Last-Event-ID`.
    since: Option<String>,
}

/// What happens, as server-sent events. Each has an id; whoever comes back with it as `Last-Event-ID` is
/// told all that came after it, as far as it is held (1,024 events, 8 MiB), and how much is missing.
#[utoipa::path(get, path = "/v1/events", tag = "events",
    params(EventParams, ("Last-Event-ID" = Option<String>, Header, description = "The id of the last event that was read.")),
    responses(
        (status = 200, description = "A stream; the data of each is an `Event`.", body = Event, content_type = "text/event-stream"),
        (status = 400, body = ErrorBody),
        (status = 429, description = "There are too many listeners, or too many topics.", body = ErrorBody),
    ))]
pub(super) async fn events(
    node: web::Data<Control>,
    request: HttpRequest,
    params: web::Query<EventParams>,
) -> Result<HttpResponse, ApiError> {
    let EventParams { only, topics, since } = params.into_inner();
    let names: BTreeSet<String> = list(only.as_deref()).map(str::to_owned).collect();
    if let Some(unknown) = names.iter().find(|name| !Event::NAMES.contains(&name.as_str())) {
        let message =
            format!("no event is called {unknown:?}; they are {}", Event::NAMES.join(", "));
        return Err(ApiError::new(Code::BadRequest, message));
    }
    let topics = list(topics.as_deref()).map(topic).collect::<Result<BTreeSet<_>, _>>()?;
    let sent = request.headers().get("last-event-id");
    let sent = sent.map(|id| String::from_utf8_lossy(id.as_bytes()).into_owned());
    let (run, last) = (node.run, node.feed.last());
    let place = sent.or(since).map(|id| Place::of(&id, run, last)).transpose()?;
    let (seen, first) = match place {
        None => (None, None),
        Some(Place::Here(number)) => (Some(number), None),
        // Numbers of another run say nothing of this one's: all that it holds is told.
        Some(Place::Elsewhere) => (Some(0), gap(0, None)),
    };
    let listener = Listener::new(&node.feed, &node.hub, Wish { names, topics }, seen).await?;
    // Something at once, so that the client sees that it is heard.
    let mut pieces = Pieces::from(Bytes::from_static(b": hello\n\n"));
    if let Some(first) = first {
        pieces.add(&first, run);
    }
    let body = stream::unfold((listener, pieces), move |(mut listener, mut pieces)| async move {
        if pieces.is_empty() {
            match timeout(HEARTBEAT, listener.next()).await {
                Ok(next) => pieces.add(&next?, run),
                Err(_) => pieces = Pieces::from(Bytes::from_static(b":\n\n")),
            }
        }
        Some((Ok::<_, Infallible>(pieces.next()?), (listener, pieces)))
    });
    Ok(HttpResponse::Ok()
        .content_type("text/event-stream")
        .insert_header((header::CACHE_CONTROL, "no-store"))
        .streaming(body))
}

fn list(text: Option<&str>) -> impl Iterator<Item = &str> {
    text.into_iter().flat_map(|text| text.split(',')).map(str::trim).filter(|word| !word.is_empty())
}

/// What is to be sent next, piece by piece: whoever does not read holds no more than one of them, and a share
/// of the event that all listeners have in common.
#[derive(Debug, Default)]
pub(super) struct Pieces(VecDeque<Bytes>);

/// An event's JSON, which the ring and all listeners share.
struct Json(Arc<Told>);

impl AsRef<[u8]> for Json {
    fn as_ref(&self) -> &[u8] {
        self.0.json.as_bytes()
    }
}

impl From<Bytes> for Pieces {
    fn from(piece: Bytes) -> Self {
        Self([piece].into())
    }
}

impl Pieces {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn push(&mut self, piece: Bytes) {
        self.0.push_back(piece);
    }

    /// An event as it is sent: its JSON has no newline.
    fn add(&mut self, next: &Next, run: u64) {
        let Next { number, told } = next;
        let head = format!("id: {run:x}-{number}\nevent: {}\ndata: ", told.name);
        let json = Bytes::from_owner(Json(told.clone()));
        self.0.extend([head.into(), json, Bytes::from_static(b"\n\n")]);
    }

    pub(super) fn next(&mut self) -> Option<Bytes> {
        let mut piece = self.0.pop_front()?;
        if piece.len() > PIECE {
            let rest = piece.split_off(PIECE);
            self.0.push_front(rest);
        }
        Some(piece)
    }
}

/// Where a client that comes back was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// In this run.
    Here(u64),
    /// In another.
    Elsewhere,
}

impl Place {
    /// Where an id says, by this run and the number of its last event.
    fn of(id: &str, run: u64, last: u64) -> Result<Self, ApiError> {
        let parts = id.split_once('-').and_then(|(run, number)| {
            Some((u64::from_str_radix(run, 16).ok()?, number.parse::<u64>().ok()?))
        });
        match parts {
            Some((its, number)) if its == run && number <= last => Ok(Self::Here(number)),
            // A number that is still to come would have the client wait for it in silence.
            Some(_) => Ok(Self::Elsewhere),
            None => {
                let message = format!("{id:?} is no event's id");
                Err(ApiError::new(Code::BadRequest, message))
            }
        }
    }
}

/// Asks other nodes, and streams what comes back as JSON lines, the account last.
#[utoipa::path(post, path = "/v1/ask/stream", operation_id = "ask_stream", tag = "messages", request_body = AskRequest, responses(
    (status = 200, description = "Lines, each an `AskLine`.", body = AskLine, content_type = "application/x-ndjson"),
    (status = 400, body = ErrorBody), (status = 413, body = ErrorBody),
))]
pub(super) async fn ask(node: web::Data<Control>, Said(body): Said<AskRequest>) -> HttpResponse {
    let answers = node.ask(&body);
    let body = stream::unfold(answers, |mut answers| async move {
        let line = line_of(answers.next().await?);
        let mut text = serde_json::to_vec(&line).ok()?;
        text.push(b'\n');
        Some((Ok::<_, Infallible>(Bytes::from(text)), answers))
    });
    HttpResponse::Ok()
        .content_type("application/x-ndjson")
        .insert_header((header::CACHE_CONTROL, "no-store"))
        .streaming(body)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_that_comes_back_says_where_it_was() {
        assert_eq!(Place::of("1f-7", 0x1f, 7), Ok(Place::Here(7)));
        assert_eq!(Place::of("1f-8", 0x1f, 7), Ok(Place::Elsewhere), "it is still to come");
        assert_eq!(Place::of("1e-7", 0x1f, 7), Ok(Place::Elsewhere));
        for bad in ["", "7", "x-7", "1f-", "1f-x", "1f--7"] {
            assert_eq!(Place::of(bad, 0x1f, 7).unwrap_err().code, Code::BadRequest, "{bad}");
        }
    }

    #[test]
    fn an_event_is_one_block_of_lines() {
        let mut pieces = Pieces::from(Bytes::from_static(b": hello\n\n"));
        pieces.add(&gap(7, Some(3)).unwrap(), 0x1f);
        let sent: Vec<u8> = std::iter::from_fn(|| pieces.next()).flatten().collect();
        assert_eq!(
            String::from_utf8(sent).unwrap(),
            ": hello\n\nid: 1f-7\nevent: missed\ndata: {\"event\":\"missed\",\"count\":3}\n\n"
        );
        let long = "x".repeat(PIECE * 2 + 1);
        let json = Arc::new(Told { name: "message", topic: None, json: long.clone().into() });
        pieces.add(&Next { number: 8, told: json }, 0x1f);
        let sent: Vec<Bytes> = std::iter::from_fn(|| pieces.next()).collect();
        assert!(sent.iter().all(|piece| piece.len() <= PIECE));
        assert!(String::from_utf8(sent.concat()).unwrap().ends_with(&format!("{long}\n\n")));
    }
}
