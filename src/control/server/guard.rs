//! Whose requests are heard: a pure decision over a few headers.
//!
//! A browser on the operator's machine can be made to send requests here by any page it shows, also by a
//! name of that page's own that it has resolve to this machine (DNS rebinding). The token alone stops what
//! needs it; that a request comes from a page at all is refused before.

use actix_web::http::header::{AUTHORIZATION, HOST, HeaderMap, HeaderName, ORIGIN};

use crate::control::{
    model::{ApiError, Code},
    token::Token,
};

/// What a request says of itself.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Claims<'a> {
    pub(super) host: Option<&'a str>,
    pub(super) origin: Option<&'a str>,
    /// The header `Sec-Fetch-Site`, by which browsers tell who makes them ask.
    pub(super) fetch_site: Option<&'a str>,
    pub(super) authorization: Option<&'a str>,
}

impl<'a> Claims<'a> {
    /// What the headers say. One that is there twice, or is no ASCII text, could be read in more ways than
    /// one, so it is refused.
    pub(super) fn of(headers: &'a HeaderMap) -> Result<Self, ApiError> {
        let one = |name: HeaderName| {
            let mut all = headers.get_all(&name);
            let text = all.next().map(|value| value.to_str()).transpose();
            match (text, all.next()) {
                (Ok(text), None) => Ok(text),
                _ => Err(ApiError::new(Code::Forbidden, format!("{name} is not clear"))),
            }
        };
        Ok(Self {
            host: one(HOST)?,
            origin: one(ORIGIN)?,
            fetch_site: one(HeaderName::from_static("sec-fetch-site"))?,
            authorization: one(AUTHORIZATION)?,
        })
    }
}

/// Who may ask.
#[derive(Debug, Clone)]
pub(super) struct Policy {
    pub(super) token: Token,
    /// Only names and addresses of this machine itself are good hosts.
    pub(super) is_local: bool,
}

impl Policy {
    /// Whether a request is heard; `is_open` if it needs no token.
    pub(super) fn judge(&self, claims: &Claims<'_>, is_open: bool) -> Result<(), ApiError> {
        let forbidden = |message: &str| Err(ApiError::new(Code::Forbidden, message));
        let host = claims.host.unwrap_or_default();
        if self.is_local && !is_local(host) {
            return forbidden("ask by an address of this machine, or as localhost");
        }
        if claims.origin.is_some_and(|origin| origin.strip_prefix("http://") != Some(host)) {
            return forbidden("requests of other sites are not answered");
        }
        if claims.fetch_site.is_some_and(|site| !matches!(site, "same-origin" | "none")) {
            return forbidden("requests of other sites are not answered");
        }
        if is_open {
            return Ok(());
        }
        let said = claims.authorization.and_then(|said| {
            let (scheme, token) = said.split_once(' ')?;
            scheme.eq_ignore_ascii_case("bearer").then_some(token.trim())
        });
        match said {
            Some(said) if self.token.is(said) => Ok(()),
            Some(_) => Err(ApiError::new(Code::Unauthorized, "this is not the token")),
            None => {
                let message = "send the token: `Authorization: Bearer …`, from api.token in the data directory";
                Err(ApiError::new(Code::Unauthorized, message))
            }
        }
    }
}

/// Whether a `Host` names this machine without asking the DNS.
fn is_local(host: &str) -> bool {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    };
    let ip = name.trim_start_matches('[').trim_end_matches(']').parse::<std::net::IpAddr>();
    name.eq_ignore_ascii_case("localhost") || ip.is_ok_and(|ip| ip.to_canonical().is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy(is_local: bool) -> Policy {
        Policy { token: Token::random(), is_local }
    }

    fn judge(policy: &Policy, claims: Claims<'_>, is_open: bool) -> Result<(), Code> {
        policy.judge(&claims, is_open).map_err(|error| error.code)
    }

    #[test]
    fn all_but_health_needs_the_token() {
        let policy = policy(true);
        let asked = |authorization| Claims {
            host: Some("localhost:7999"),
            authorization,
            ..Claims::default()
        };
        let right = format!("Bearer {}", policy.token.secret());
        let lower = right.replace("Bearer", "bearer");
        assert_eq!(judge(&policy, asked(Some(&right)), false), Ok(()));
        assert_eq!(judge(&policy, asked(Some(&lower)), false), Ok(()));
        assert_eq!(judge(&policy, asked(None), true), Ok(()));
        let wrong = format!("Bearer {}", Token::random().secret());
        let basic = right.replace("Bearer", "Basic");
        for said in [None, Some(""), Some("Bearer"), Some("Bearer "), Some(&*wrong), Some(&*basic)]
        {
            assert_eq!(judge(&policy, asked(said), false), Err(Code::Unauthorized), "{said:?}");
        }
    }

    #[test]
    fn a_header_that_can_be_read_in_two_ways_is_refused() {
        use actix_web::http::header::HeaderValue;

        let names = [HOST, ORIGIN, HeaderName::from_static("sec-fetch-site"), AUTHORIZATION];
        for name in names {
            let mut headers = HeaderMap::new();
            assert!(Claims::of(&headers).is_ok());
            headers.append(name.clone(), HeaderValue::from_static("none"));
            assert!(Claims::of(&headers).is_ok());
            headers.append(name.clone(), HeaderValue::from_static("none"));
            assert_eq!(Claims::of(&headers).unwrap_err().code, Code::Forbidden, "{name} twice");
            headers.insert(name.clone(), HeaderValue::from_bytes(b"\xff").unwrap());
            assert_eq!(Claims::of(&headers).unwrap_err().code, Code::Forbidden, "{name}");
        }
    }

    #[test]
    fn a_name_that_is_not_this_machines_is_refused() {
        let (local, remote) = (policy(true), policy(false));
        for (host, is_good) in [
            ("127.0.0.1:7999", true),
            ("127.8.8.8", true),
            ("localhost", true),
            ("LOCALHOST:1", true),
            ("[::1]:7999", true),
            ("[::1]", true),
            ("[::ffff:127.0.0.1]:1", true),
            ("evil.example:7999", false),
            ("localhost.evil.example", false),
            ("127.0.0.1.evil.example", false),
            ("192.168.0.1:7999", false),
            ("", false),
        ] {
            let claims = Claims { host: Some(host), ..Claims::default() };
            assert_eq!(judge(&local, claims, true).is_ok(), is_good, "{host}");
            assert_eq!(judge(&remote, claims, true), Ok(()), "{host}");
        }
        assert_eq!(judge(&local, Claims::default(), true), Err(Code::Forbidden));
    }

    #[test]
    fn what_a_page_of_another_site_asks_is_refused() {
        for policy in [policy(true), policy(false)] {
            let host = Some("localhost:7999");
            for (origin, is_good) in [
                ("http://localhost:7999", true),
                ("http://evil.example", false),
                ("https://localhost:7999", false),
                ("http://localhost:8080", false),
                ("null", false),
            ] {
                let claims = Claims { host, origin: Some(origin), ..Claims::default() };
                assert_eq!(judge(&policy, claims, true).is_ok(), is_good, "{origin}");
            }
            for (site, is_good) in
                [("same-origin", true), ("none", true), ("cross-site", false), ("same-site", false)]
            {
                let claims = Claims { host, fetch_site: Some(site), ..Claims::default() };
                assert_eq!(judge(&policy, claims, true).is_ok(), is_good, "{site}");
            }
        }
    }
}
