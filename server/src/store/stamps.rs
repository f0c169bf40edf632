//! `sync_stamps`, the sparse map of a row, as JSON:
//! `{"": [birth version, birth txid], "title": [time µs, client, version, txid]}`.

use std::collections::BTreeMap;

use colsync_shared::{ClientId, Stamp, Time};
use serde_json::{Value as Json, json};

use super::error::StoreError;
use super::model::{Entry, Stamps};

/// The name under which the row's birth stands.
const BIRTH: &str = "";

impl Stamps {
    /// Reads the map of a row at `version` and `txid`; a row without a map was not changed since its birth.
    pub(crate) fn read(json: Option<&str>, version: i64, txid: i64) -> Result<Stamps, StoreError> {
        let mut stamps = Stamps {
            birth_version: version,
            birth_txid: txid,
            entries: BTreeMap::new(),
        };
        let Some(json) = json else { return Ok(stamps) };
        let corrupt =
            || StoreError::Corrupt("sync_stamps is not a map that colsync wrote".to_owned());
        let map: BTreeMap<String, Vec<Json>> =
            serde_json::from_str(json).map_err(|_refused| corrupt())?;
        if !map.contains_key(BIRTH) {
            return Err(corrupt());
        }
        for (name, fields) in map {
            match (name.as_str(), fields.as_slice()) {
                (BIRTH, [version, txid]) => {
                    stamps.birth_version = version.as_i64().ok_or_else(corrupt)?;
                    stamps.birth_txid = txid.as_i64().ok_or_else(corrupt)?;
                }
                (_, [time, client, version, txid]) => {
                    let client: ClientId = client
                        .as_str()
                        .and_then(|text| text.parse().ok())
                        .ok_or_else(corrupt)?;
                    let time = time.as_i64().map(Time::from_micros);
                    let entry = Entry {
                        stamp: time.map(|time| Stamp { time, client }),
                        version: version.as_i64().ok_or_else(corrupt)?,
                        txid: txid.as_i64().ok_or_else(corrupt)?,
                    };
                    stamps.entries.insert(name, entry);
                }
                _ => return Err(corrupt()),
            }
        }
        Ok(stamps)
    }

    /// The map as stored; `None` while no column has an entry.
    pub(crate) fn write(&self) -> Option<String> {
        if self.entries.is_empty() {
            return None;
        }
        let mut map: BTreeMap<&str, Json> = BTreeMap::new();
        map.insert(BIRTH, json!([self.birth_version, self.birth_txid]));
        for (name, entry) in &self.entries {
            let time = entry.stamp.map(|stamp| stamp.time.micros());
            let client = entry
                .stamp
                .map_or(ClientId::ANONYMOUS, |stamp| stamp.client);
            map.insert(name, json!([time, client, entry.version, entry.txid]));
        }
        serde_json::to_string(&map).ok()
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
