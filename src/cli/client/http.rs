//! Talking to the control API of a running node.

use std::{
    io::{BufRead, BufReader, Read},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    path::{Path, PathBuf},
    time::Duration,
};

use peerage::control::{
    model::{ApiError, Code, ErrorBody},
    token::Token,
};
use serde::{Serialize, de::DeserializeOwned};
use ureq::{Agent, Body, http::Response};

use crate::cli::{api::ApiPlace, error::Failure};

/// How long a node may take for an answer; a question to many is streamed.
const PATIENCE: Duration = Duration::from_secs(60);

/// The longest answer that is read, in bytes.
const MAX_ANSWER: u64 = 64 << 20;

/// A way to the API of one node.
#[derive(Debug, Clone)]
pub(crate) struct Client {
    agent: Agent,
    base: String,
    authorization: String,
}

impl Client {
    /// The way to the node that runs with a data directory, or to the one that is named.
    pub(crate) fn to(
        data_dir: &Path,
        api: Option<&str>,
        token_file: Option<&Path>,
    ) -> Result<Self, Failure> {
        let place =
            if api.is_some() && token_file.is_some() { None } else { found(data_dir, api)? };
        let no_node = || Failure::NoNode(data_dir.to_path_buf());
        let base = match (api, &place) {
            (Some(api), _) => format!("http://{api}"),
            (None, Some(place)) => format!("http://{}", dialable(place.addr)),
            (None, None) => return Err(no_node()),
        };
        let file: PathBuf = match (token_file, place) {
            (Some(file), _) => file.to_path_buf(),
            (None, Some(place)) => place.token_file,
            (None, None) => data_dir.join("api.token"),
        };
        let token = Token::read(&file)?;
        let config = Agent::config_builder()
            .http_status_as_error(false)
            // The token is for this machine's node alone, whatever proxy the environment names.
            .proxy(None)
            .timeout_connect(Some(Duration::from_secs(5)))
            .timeout_recv_response(Some(PATIENCE))
            .build();
        let authorization = format!("Bearer {}", token.secret());
        Ok(Self { agent: config.into(), base, authorization })
    }

    /// Asks for something.
    pub(crate) fn get<T: DeserializeOwned>(
        &self,
        path: &str,
        query: &[(&str, &str)],
    ) -> Result<T, Failure> {
        self.read(self.call(path, query, None)?)
    }

    /// Asks for something that is no JSON.
    pub(crate) fn text(&self, path: &str) -> Result<String, Failure> {
        let mut body = refused(self.call(path, &[], None)?)?.into_body();
        let text = body.with_config().limit(MAX_ANSWER).read_to_string();
        text.map_err(|error| self.unreachable(error))
    }

    /// Has something done.
    pub(crate) fn post<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &impl Serialize,
    ) -> Result<T, Failure> {
        self.read(self.send(path, body)?)
    }

    /// Has something done whose answer comes line by line.
    pub(crate) fn post_lines<B: Serialize>(
        &self,
        path: &str,
        body: &B,
    ) -> Result<impl BufRead + use<B>, Failure> {
        self.lines(self.send(path, body)?)
    }

    /// Has something done with bytes.
    pub(crate) fn post_bytes<T: DeserializeOwned>(
        &self,
        path: &str,
        query: &[(&str, &str)],
        body: &[u8],
    ) -> Result<T, Failure> {
        let request = self.agent.post(format!("{}{path}", self.base));
        let response = request
            .query_pairs(query.iter().copied())
            .header("Authorization", &self.authorization)
            .header("Content-Type", "application/octet-stream")
            .send(body)
            .map_err(|error| self.unreachable(error))?;
        self.read(response)
    }

    /// Asks for bytes, whatever they are.
    pub(crate) fn bytes(
        &self,
        path: &str,
        query: &[(&str, &str)],
    ) -> Result<impl Read + use<>, Failure> {
        Ok(refused(self.call(path, query, None)?)?.into_body().into_reader())
    }

    /// Asks for a stream of events, after the one of this id.
    pub(crate) fn events(
        &self,
        path: &str,
        query: &[(&str, &str)],
        last: Option<&str>,
    ) -> Result<impl BufRead + use<>, Failure> {
        self.lines(self.call(path, query, last)?)
    }

    fn call(
        &self,
        path: &str,
        query: &[(&str, &str)],
        last: Option<&str>,
    ) -> Result<Response<Body>, Failure> {
        let request = self.agent.get(format!("{}{path}", self.base));
        let mut request =
            request.query_pairs(query.iter().copied()).header("Authorization", &self.authorization);
        if let Some(last) = last {
            request = request.header("Last-Event-ID", last);
        }
        request.call().map_err(|error| self.unreachable(error))
    }

    fn send(&self, path: &str, body: &impl Serialize) -> Result<Response<Body>, Failure> {
        let json = serde_json::to_vec(body).unwrap_or_default();
        self.agent
            .post(format!("{}{path}", self.base))
            .header("Authorization", &self.authorization)
            .header("Content-Type", "application/json")
            .send(&json[..])
            .map_err(|error| self.unreachable(error))
    }

    fn read<T: DeserializeOwned>(&self, response: Response<Body>) -> Result<T, Failure> {
        let mut body = refused(response)?.into_body();
        let text = body.with_config().limit(MAX_ANSWER).read_to_vec();
        let text = text.map_err(|error| self.unreachable(error))?;
        serde_json::from_slice(&text).map_err(|error| Failure::Answer(error.to_string()))
    }

    fn lines(&self, response: Response<Body>) -> Result<impl BufRead + use<>, Failure> {
        Ok(BufReader::new(refused(response)?.into_body().into_reader()))
    }

    fn unreachable(&self, error: ureq::Error) -> Failure {
        Failure::Unreachable { base: self.base.clone(), why: error.to_string() }
    }
}

/// What the node of a data directory says, unless another is meant.
fn found(data_dir: &Path, api: Option<&str>) -> Result<Option<ApiPlace>, Failure> {
    if api.is_some() {
        return Ok(None);
    }
    let read = ApiPlace::read(data_dir);
    read.map_err(|source| Failure::System { what: "read api.json in the data directory", source })
}

/// Where to reach what listens on every address.
pub(crate) fn dialable(addr: SocketAddr) -> SocketAddr {
    let ip = match addr.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, addr.port())
}

/// The answer, or why there is none.
fn refused(response: Response<Body>) -> Result<Response<Body>, Failure> {
    if response.status().is_success() {
        return Ok(response);
    }
    let status = response.status();
    let text =
        response.into_body().with_config().limit(64 * 1024).read_to_vec().unwrap_or_default();
    let error = match serde_json::from_slice::<ErrorBody>(&text) {
        Ok(body) => body.error,
        Err(_) => ApiError::new(Code::Internal, format!("the node answered with status {status}")),
    };
    Err(Failure::Refused(error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_listens_everywhere_is_reached_on_this_machine() {
        for (addr, expected) in
            [("0.0.0.0:1", "127.0.0.1:1"), ("[::]:2", "[::1]:2"), ("10.0.0.7:3", "10.0.0.7:3")]
        {
            assert_eq!(dialable(addr.parse().unwrap()), expected.parse().unwrap());
        }
    }

    #[test]
    fn without_a_node_it_says_how_to_have_one() {
        let temp = tempfile::TempDir::new().unwrap();
        let failure = Client::to(temp.path(), None, None).unwrap_err();
        assert_eq!(failure.exit_status(), 69);
        assert!(failure.to_string().contains("peerage run"), "{failure}");
    }
}
