//! `sync_stamps`, the sparse map of a row, as JSON:
//! `{"": [birth version, birth txid], "title": [time µs, client, version, txid]}`.

use std::collections::BTreeMap;
use std::fmt::{self, Write as _};

use colsync_shared::{ClientId, Stamp, Time};
use serde::Deserializer as _;
use serde::de::{Error as _, MapAccess, Visitor};

use super::error::StoreError;
use super::model::{Entry, Stamps};

/// The name under which the row's birth stands.
const BIRTH: &str = "";

impl Stamps {
    /// Reads the map of a row at `version` and `txid`; a row without a map was not changed since its birth.
    pub(crate) fn read(json: Option<&str>, version: i64, txid: i64) -> Result<Stamps, StoreError> {
        let Some(json) = json else {
            return Ok(Stamps {
                birth_version: version,
                birth_txid: txid,
                entries: BTreeMap::new(),
            });
        };
        let mut from = serde_json::Deserializer::from_str(json);
        let stamps = from.deserialize_map(Map);
        let stamps = stamps.and_then(|stamps| from.end().map(|()| stamps));
        stamps.map_err(|_refused| {
            StoreError::Corrupt("sync_stamps is not a map that colsync wrote".to_owned())
        })
    }

    /// The map as stored; `None` while no column has an entry.
    pub(crate) fn write(&self) -> Option<String> {
        if self.entries.is_empty() {
            return None;
        }
        let mut map = String::with_capacity(32 + self.entries.len() * 96);
        // Writing to a String cannot fail, and a name is a string that JSON can hold.
        let _ = write!(
            map,
            "{{\"{BIRTH}\":[{},{}]",
            self.birth_version, self.birth_txid
        );
        for (name, entry) in &self.entries {
            let name = serde_json::to_string(name).unwrap_or_default();
            let client = entry
                .stamp
                .map_or(ClientId::ANONYMOUS, |stamp| stamp.client);
            let _ = match entry.stamp {
                Some(stamp) => write!(map, ",{name}:[{}", stamp.time.micros()),
                None => write!(map, ",{name}:[null"),
            };
            let _ = write!(map, ",\"{client}\",{},{}]", entry.version, entry.txid);
        }
        map.push('}');
        Some(map)
    }
}

/// Reads the map without making a document of it first.
struct Map;

impl<'de> Visitor<'de> for Map {
    type Value = Stamps;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a map of stamps")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Stamps, A::Error> {
        let mut birth = None;
        let mut entries = BTreeMap::new();
        while let Some(name) = map.next_key::<String>()? {
            if name == BIRTH {
                birth = Some(map.next_value::<(i64, i64)>()?);
                continue;
            }
            let (time, client, version, txid) =
                map.next_value::<(Option<i64>, ClientId, i64, i64)>()?;
            let stamp = time.map(|micros| Stamp {
                time: Time::from_micros(micros),
                client,
            });
            let entry = Entry {
                stamp,
                version,
                txid,
            };
            entries.insert(name, entry);
        }
        let (birth_version, birth_txid) = birth.ok_or_else(|| A::Error::missing_field("birth"))?;
        Ok(Stamps {
            birth_version,
            birth_txid,
            entries,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_back_and_what_is_not_ours_is_refused() {
        let stamp = Stamp {
            time: Time::from_micros(5),
            client: ClientId::ADMIN,
        };
        let entry = Entry {
            stamp: Some(stamp),
            version: 3,
            txid: 900,
        };
        let entries = BTreeMap::from([("title".to_owned(), entry)]);
        let stamps = Stamps {
            birth_version: 1,
            birth_txid: 800,
            entries,
        };
        let written = stamps.write().unwrap();
        assert_eq!(
            written,
            r#"{"":[1,800],"title":[5,"00000000-0000-0000-0000-000000000002",3,900]}"#
        );
        assert_eq!(Stamps::read(Some(&written), 3, 900).unwrap(), stamps);
        assert_eq!(Stamps::read(None, 7, 70).unwrap().birth_txid, 70);
        assert!(Stamps::read(Some(r#"{"title":[1]}"#), 1, 1).is_err());
        assert!(Stamps::read(Some("[]"), 1, 1).is_err());
        assert!(Stamps::read(Some("{}"), 1, 1).is_err(), "a row has a birth");
    }
}
