//! Bodies of requests: read whole within a time, or not at all.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use actix_web::{
    FromRequest, HttpRequest,
    body::{BodySize, BoxBody, MessageBody},
    dev::{Payload, ServiceResponse},
    web::{Bytes, Json},
};
use serde::de::DeserializeOwned;
use tokio::time::timeout;

use super::REQUEST_TIMEOUT;
use crate::control::model::{ApiError, Code};

/// What a request says, from its JSON. It has to come as soon as the headers.
pub(super) struct Said<T>(pub(super) T);

impl<T: DeserializeOwned + 'static> FromRequest for Said<T> {
    type Error = actix_web::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self, actix_web::Error>>>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let read = Json::<T>::from_request(request, payload);
        Box::pin(async move {
            match timeout(REQUEST_TIMEOUT, read).await {
                Ok(read) => read.map(|json| Self(json.into_inner())),
                Err(_) => {
                    let message = format!("the body did not come within {REQUEST_TIMEOUT:?}");
                    Err(ApiError::new(Code::BadRequest, message).into())
                }
            }
        })
    }
}

/// An answer to a request whose body nobody reads, with what there is of that body.
///
/// The server closes the connection when the body is still coming and is held until the answer is sent;
/// one that was let go it would read to its end, and without the token nobody may draw that out.
struct Unread {
    answer: BoxBody,
    _body: Payload,
}

impl MessageBody for Unread {
    type Error = <BoxBody as MessageBody>::Error;

    fn size(&self) -> BodySize {
        self.answer.size()
    }

    fn poll_next(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Bytes, Self::Error>>> {
        Pin::new(&mut self.get_mut().answer).poll_next(cx)
    }
}

/// Answers without having read the body.
pub(super) fn unread(
    response: ServiceResponse<BoxBody>,
    body: Payload,
) -> ServiceResponse<BoxBody> {
    match body {
        Payload::None => response,
        body => response.map_body(|_, answer| BoxBody::new(Unread { answer, _body: body })),
    }
}
