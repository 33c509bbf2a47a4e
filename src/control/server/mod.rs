//! The control API over HTTP.
//!
//! Everything but health needs the token. Requests are bounded in size and time, and of those without the
//! token no body is read; whoever listens to events
//! and does not read holds a place and what its connection buffers, and is closed by the system when it has
//! taken nothing for [`STALLED_AFTER`] (where the system can: TCP_USER_TIMEOUT, RFC 5482, on Linux).

mod body;
mod guard;
mod openapi;
mod routes;
mod spaces;
mod stream;

use std::{
    io,
    net::{SocketAddr, TcpListener},
    time::Duration,
};

use actix_web::{
    App, HttpMessage as _, HttpRequest, HttpResponse, HttpServer, ResponseError,
    body::{BoxBody, MessageBody},
    dev::{ServerHandle, ServiceRequest, ServiceResponse},
    http::{StatusCode, header},
    middleware::{Next, from_fn},
    web,
};
use socket2::SockRef;

pub use self::openapi::openapi_json;
use self::{
    body::unread,
    guard::{Claims, Policy},
};
use super::{
    Control, MAX_LISTENERS,
    model::{ApiError, Code, ErrorBody},
    token::Token,
};

/// Where it listens if nobody says otherwise.
pub const DEFAULT_PORT: u16 = 7999;

/// The longest body of a request, in bytes.
pub const MAX_BODY: usize = 128 * 1024;

/// How long a client may leave what it was sent untaken.
pub const STALLED_AFTER: Duration = Duration::from_secs(60);

/// How long a client may take to send its headers, and again to send its body.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);

/// Connections beside those of listeners.
const OTHER_CONNECTIONS: usize = 256;

/// Why it cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// Others than this machine could reach it.
    #[error(
        "the control API at {0} could be reached from other machines, unencrypted: listen on 127.0.0.1, or say --api-allow-remote if what lies between is trusted"
    )]
    Remote(SocketAddr),
    /// The system refuses the address.
    #[error(
        "cannot serve the control API at {addr}: {source}; use another address (--api HOST:PORT), or none (--no-api)"
    )]
    Bind {
        /// The address.
        addr: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
}

/// The place where it is going to be served.
#[derive(Debug)]
pub struct Place {
    listener: TcpListener,
    addr: SocketAddr,
}

impl Place {
    /// Takes an address. Port 0 picks a free one.
    ///
    /// # Errors
    /// The system refuses it, or other machines could reach it and that is not allowed.
    pub fn take(addr: SocketAddr, allow_remote: bool) -> Result<Self, ServeError> {
        if !allow_remote && !addr.ip().to_canonical().is_loopback() {
            return Err(ServeError::Remote(addr));
        }
        let failed = |source| ServeError::Bind { addr, source };
        let listener = TcpListener::bind(addr).map_err(failed)?;
        let addr = listener.local_addr().map_err(failed)?;
        Ok(Self { listener, addr })
    }

    /// The address, with the port it got.
    #[must_use]
    pub const fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Serves the node there, on a thread of its own, until that is stopped.
    ///
    /// # Errors
    /// The system refuses something.
    pub fn serve(self, control: &Control, token: Token) -> Result<Serving, ServeError> {
        let is_local = self.addr.ip().to_canonical().is_loopback();
        let (addr, control) = (self.addr, control.clone());
        let failed = |source| ServeError::Bind { addr, source };
        let policy = web::Data::new(Policy { token, is_local });
        let server = HttpServer::new(move || {
            App::new()
                .app_data(web::Data::new(control.clone()))
                .app_data(policy.clone())
                .app_data(web::PayloadConfig::new(MAX_BODY))
                .app_data(
                    web::JsonConfig::default()
                        .limit(MAX_BODY)
                        .error_handler(|error, _| bad_body(&error).into()),
                )
                .app_data(web::QueryConfig::default().error_handler(|error, _| {
                    ApiError::new(Code::BadRequest, error.to_string()).into()
                }))
                .wrap(from_fn(guarded))
                .configure(routes::configure)
                .default_service(web::to(nothing))
        })
        .workers(1)
        .disable_signals()
        .max_connections(MAX_LISTENERS + OTHER_CONNECTIONS)
        .client_request_timeout(REQUEST_TIMEOUT)
        .shutdown_timeout(1)
        // A client that does not read holds little more than this.
        .h1_write_buffer_size(stream::PIECE)
        .on_connect(|connection, _| {
            if let Some(stream) = connection.downcast_ref::<actix_web::rt::net::TcpStream>() {
                bound_stalls(stream);
            }
        })
        .listen(self.listener)
        .map_err(failed)?
        .run();
        let handle = server.handle();
        actix_rt::spawn(async move {
            if let Err(error) = server.await {
                tracing::error!(%error, "the control API has ended");
            }
        });
        Ok(Serving { handle })
    }
}

/// It is being served.
#[derive(Clone)]
pub struct Serving {
    handle: ServerHandle,
}

impl std::fmt::Debug for Serving {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Serving")
    }
}

impl Serving {
    /// Answers nobody any more; whoever listens is cut off.
    pub async fn stop(&self) {
        self.handle.stop(false).await;
    }
}

/// Has the system give up a connection whose other end takes nothing.
fn bound_stalls(stream: &actix_web::rt::net::TcpStream) {
    #[cfg(any(target_os = "linux", target_os = "android"))]
    if let Err(error) = SockRef::from(stream).set_tcp_user_timeout(Some(STALLED_AFTER)) {
        tracing::debug!(%error, "a connection of the control API may stall for as long as it likes");
    }
    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    let _unbounded = SockRef::from(stream);
}

/// Hears only those who may ask.
async fn guarded(
    mut request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<BoxBody>, actix_web::Error> {
    let is_open = matches!(request.path(), "/healthz" | "/readyz");
    let judged = match request.app_data::<web::Data<Policy>>() {
        Some(policy) => {
            Claims::of(request.headers()).and_then(|claims| policy.judge(&claims, is_open))
        }
        None => Err(ApiError::new(Code::Internal, "there is no policy")),
    };
    match judged {
        Ok(()) if is_open => {
            let body = request.take_payload();
            Ok(unread(next.call(request).await?.map_into_boxed_body(), body))
        }
        Ok(()) => Ok(next.call(request).await?.map_into_boxed_body()),
        Err(error) => {
            let body = request.take_payload();
            Ok(unread(request.into_response(error.error_response()), body))
        }
    }
}

/// What is nowhere.
async fn nothing(request: HttpRequest) -> Result<HttpResponse, ApiError> {
    Err(ApiError::new(
        Code::NotFound,
        format!("there is nothing at {}; see /openapi.json", request.path()),
    ))
}

/// What is somewhere, but not with this method.
async fn other_method(request: HttpRequest, allow: &'static str) -> Result<HttpResponse, ApiError> {
    let message = format!("{} cannot be asked with {}", request.path(), request.method());
    let mut response = ApiError::new(Code::MethodNotAllowed, message).error_response();
    response.headers_mut().insert(header::ALLOW, header::HeaderValue::from_static(allow));
    Ok(response)
}

fn bad_body(error: &actix_web::error::JsonPayloadError) -> ApiError {
    use actix_web::error::JsonPayloadError;

    let code = match error {
        JsonPayloadError::OverflowKnownLength { .. } | JsonPayloadError::Overflow { .. } => {
            Code::TooLarge
        }
        _ => Code::BadRequest,
    };
    ApiError::new(code, error.to_string())
}

impl ResponseError for ApiError {
    fn status_code(&self) -> StatusCode {
        match self.code {
            Code::BadRequest => StatusCode::BAD_REQUEST,
            Code::Unauthorized => StatusCode::UNAUTHORIZED,
            Code::Forbidden | Code::NotAWriter => StatusCode::FORBIDDEN,
            Code::NotFound | Code::NoSuchSpace => StatusCode::NOT_FOUND,
            Code::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
            Code::Ambiguous | Code::OtherWriters | Code::ClockWrong => StatusCode::CONFLICT,
            Code::NoSpaces => StatusCode::NOT_IMPLEMENTED,
            Code::SpaceFull | Code::WriterFull | Code::DiskFull => StatusCode::INSUFFICIENT_STORAGE,
            Code::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Code::Full | Code::Rate => StatusCode::TOO_MANY_REQUESTS,
            Code::Busy | Code::Stopped => StatusCode::SERVICE_UNAVAILABLE,
            Code::NoRoute | Code::Refused | Code::DialFailed => StatusCode::BAD_GATEWAY,
            Code::Timeout => StatusCode::GATEWAY_TIMEOUT,
            Code::NotKept | Code::StoreFailed | Code::Internal => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    fn error_response(&self) -> HttpResponse<BoxBody> {
        let mut response = HttpResponse::build(self.status_code());
        if self.code == Code::Unauthorized {
            response.insert_header((header::WWW_AUTHENTICATE, "Bearer"));
        }
        response.json(ErrorBody { error: self.clone() })
    }
}
