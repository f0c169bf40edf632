//! Who is calling: API keys and the administrator's token, compared in constant time.
//!
//! Knows nothing of HTTP beyond the text of one `Authorization` header. Keeps hashes only: a key is
//! 32 random bytes, so a plain SHA-256 of it is as hard to reverse as the key is to guess.

use std::collections::HashMap;
use std::fmt::{self, Write as _};
use std::sync::{PoisonError, RwLock};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use colsync_shared::{ClientId, Time};
use sha2::{Digest as _, Sha256};
use subtle::{Choice, ConditionallySelectable as _, ConstantTimeEq as _};

use crate::config::Config;
use crate::edges;

/// Whom the server serves where no authentication is configured.
const LOCAL: &str = "local";
/// What every new key begins with, so that scanners for leaked secrets can find it.
const KEY_PREFIX: &str = "colsync_";

/// A user of the server, the owner of its clients.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Principal(pub(crate) String);

/// Why a caller is not let in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum AuthError {
    /// No `Authorization` header.
    #[error("this call needs `Authorization: Bearer KEY`")]
    Missing,
    /// A header of another shape.
    #[error("the Authorization header is not of the form `Bearer KEY`")]
    Malformed,
    /// A key or token that is not configured.
    #[error("the key is not known")]
    Unknown,
    /// There is no administrator: what is under `/admin` answers as if it did not exist.
    #[error("there is nothing here")]
    NotConfigured,
}

/// The SHA-256 of a key or token.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct KeyHash([u8; 32]);

/// A text that is no SHA-256 in hexadecimal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a SHA-256 is 64 hexadecimal digits")]
pub struct KeyHashError;

impl KeyHash {
    /// The hash of `key`.
    #[must_use]
    pub fn of(key: &str) -> KeyHash {
        KeyHash(Sha256::digest(key).into())
    }

    /// Reads 64 hexadecimal digits.
    ///
    /// # Errors
    /// If `hex` is anything else.
    pub fn from_hex(hex: &str) -> Result<KeyHash, KeyHashError> {
        let nibble = |digit: u8| {
            let value = char::from(digit).to_digit(16)?;
            u8::try_from(value).ok()
        };
        if hex.len() != 64 {
            return Err(KeyHashError);
        }
        let mut bytes = [0; 32];
        for (byte, pair) in bytes.iter_mut().zip(hex.as_bytes().chunks_exact(2)) {
            *byte = match pair {
                [high, low] => nibble(*high).zip(nibble(*low)).map(|(h, l)| h << 4 | l),
                _ => None,
            }
            .ok_or(KeyHashError)?;
        }
        Ok(KeyHash(bytes))
    }

    fn hex(&self) -> String {
        self.0.iter().fold(String::new(), |mut hex, byte| {
            // Writing to a string does not fail.
            let _ = write!(hex, "{byte:02x}");
            hex
        })
    }

    fn is(&self, other: &KeyHash) -> Choice {
        self.0.ct_eq(&other.0)
    }
}

impl fmt::Debug for KeyHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeyHash(…)")
    }
}

/// The principal that `authorization`, the header's text, stands for.
///
/// Takes the same time whichever key matches, or none.
pub(crate) fn authenticate(
    config: &Config,
    authorization: Option<&str>,
) -> Result<Principal, AuthError> {
    let Some(auth) = &config.auth else {
        return Ok(Principal(LOCAL.to_owned()));
    };
    let hash = KeyHash::of(bearer(authorization)?);
    let mut found = u64::MAX;
    for (position, key) in (0..).zip(&auth.api_keys) {
        found.conditional_assign(&position, key.sha256.is(&hash));
    }
    usize::try_from(found)
        .ok()
        .and_then(|position| auth.api_keys.get(position))
        .map(|key| Principal(key.principal.clone()))
        .ok_or(AuthError::Unknown)
}

/// Whether `authorization` carries the administrator's token.
pub(crate) fn admin(config: &Config, authorization: Option<&str>) -> Result<(), AuthError> {
    let token = config.admin_token.ok_or(AuthError::NotConfigured)?;
    let hash = KeyHash::of(bearer(authorization)?);
    if token.is(&hash).into() {
        Ok(())
    } else {
        Err(AuthError::Unknown)
    }
}

/// A new API key and the hash of it that goes into the configuration, in hexadecimal.
#[must_use]
pub fn new_key() -> (String, String) {
    let key = format!("{KEY_PREFIX}{}", URL_SAFE_NO_PAD.encode(edges::secret()));
    let hash = KeyHash::of(&key).hex();
    (key, hash)
}

fn bearer(authorization: Option<&str>) -> Result<&str, AuthError> {
    let header = authorization.ok_or(AuthError::Missing)?;
    let (scheme, key) = header.split_once(' ').ok_or(AuthError::Malformed)?;
    let key = key.trim_matches(' ');
    if !scheme.eq_ignore_ascii_case("Bearer") || key.is_empty() {
        return Err(AuthError::Malformed);
    }
    Ok(key)
}

/// What this process has seen of each client: whose it is, and when that and its skew were noted. An owner
/// never changes, so what is known stays true; the database decides what is not.
#[derive(Debug, Default)]
pub(crate) struct Owners(RwLock<HashMap<ClientId, Known>>);

#[derive(Debug)]
struct Known {
    principal: Principal,
    noted: Time,
    skew: Option<i64>,
    /// The anchor up to which it was given everything, and when that was noted.
    pulled: Option<(String, Time)>,
}

/// Clients remembered at the most: enough for all that are active, bounded whatever is sent.
const OWNERS_KEPT: usize = 100_000;
/// A client heard of so recently, with much the same skew, is not noted again. In µs.
const NOTED_AGAIN_AFTER: i64 = 30_000_000;
const SAME_SKEW: i64 = 1_000_000;

impl Owners {
    /// Whether `client` is known to be `principal`'s, and there is no news of it.
    pub(crate) fn knows(
        &self,
        client: ClientId,
        principal: &Principal,
        skew: Option<i64>,
        now: Time,
    ) -> bool {
        let owners = self.0.read().unwrap_or_else(PoisonError::into_inner);
        owners.get(&client).is_some_and(|known| {
            let same_skew = match (known.skew, skew) {
                (Some(known), Some(skew)) => (known - skew).abs() < SAME_SKEW,
                (None, Some(_)) => false,
                (_, None) => true,
            };
            known.principal == *principal && same_skew && now.since(known.noted) < NOTED_AGAIN_AFTER
        })
    }

    /// Whether `client` is known to be `principal`'s, with or without news.
    pub(crate) fn owns(&self, principal: &Principal, client: ClientId) -> bool {
        let owners = self.0.read().unwrap_or_else(PoisonError::into_inner);
        owners
            .get(&client)
            .is_some_and(|known| known.principal == *principal)
    }

    pub(crate) fn learn(
        &self,
        client: ClientId,
        principal: &Principal,
        skew: Option<i64>,
        now: Time,
    ) {
        let mut owners = self.0.write().unwrap_or_else(PoisonError::into_inner);
        if owners.len() >= OWNERS_KEPT {
            owners.clear();
        }
        let pulled = owners.remove(&client).and_then(|known| known.pulled);
        owners.insert(
            client,
            Known {
                principal: principal.clone(),
                noted: now,
                skew,
                pulled,
            },
        );
    }

    /// Whether it is to be noted that `client` was given everything up to `anchor`: if that is news, or was noted
    /// long ago. Then it is taken as noted.
    pub(crate) fn is_to_be_noted(&self, client: ClientId, anchor: &str, now: Time) -> bool {
        let is_known = |known: &Known| {
            known.pulled.as_ref().is_some_and(|(known, noted)| {
                known == anchor && now.since(*noted) < NOTED_AGAIN_AFTER
            })
        };
        let owners = self.0.read().unwrap_or_else(PoisonError::into_inner);
        if owners.get(&client).is_some_and(is_known) {
            return false;
        }
        drop(owners);
        let mut owners = self.0.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = owners.get_mut(&client) {
            known.pulled = Some((anchor.to_owned(), now));
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Overrides;

    fn config(text: &str) -> Config {
        Config::parse(text, &Overrides::default()).unwrap()
    }

    #[test]
    fn without_configured_authentication_everyone_is_local() {
        let config = config("");
        let who = authenticate(&config, Some("Bearer whatever"));
        assert_eq!(who, Ok(Principal("local".to_owned())));
    }

    #[test]
    fn a_key_lets_its_principal_in_and_no_one_else() {
        let (key, hash) = new_key();
        let (other, other_hash) = new_key();
        assert_ne!(key, other);
        let config = config(&format!(
            "[auth]\napi_keys = [{{ principal = \"bob\", sha256 = \"{other_hash}\" }},
             {{ principal = \"alice\", sha256 = \"{hash}\" }}]"
        ));
        let who = |header: &str| authenticate(&config, Some(header));
        assert_eq!(
            who(&format!("Bearer {key}")),
            Ok(Principal("alice".to_owned()))
        );
        assert_eq!(
            who(&format!("bearer  {other} ")),
            Ok(Principal("bob".to_owned()))
        );
        assert_eq!(who(&format!("Bearer {key}x")), Err(AuthError::Unknown));
        assert_eq!(who(&format!("Bearer {hash}")), Err(AuthError::Unknown));
        assert_eq!(who(&format!("Basic {key}")), Err(AuthError::Malformed));
        assert_eq!(who("Bearer "), Err(AuthError::Malformed));
        assert_eq!(authenticate(&config, None), Err(AuthError::Missing));
    }

    #[test]
    fn without_an_admin_token_there_is_no_admin() {
        let none = config("");
        assert_eq!(
            admin(&none, Some("Bearer x")),
            Err(AuthError::NotConfigured)
        );
        let some = config("admin_token = \"0123456789abcdef\"");
        assert_eq!(admin(&some, Some("Bearer 0123456789abcdef")), Ok(()));
        assert_eq!(
            admin(&some, Some("Bearer 0123456789abcdee")),
            Err(AuthError::Unknown)
        );
        assert_eq!(admin(&some, None), Err(AuthError::Missing));
    }
}
