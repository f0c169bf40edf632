//! URL templates of a description: `/todos/{id}`, and what is put into them.

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

/// A path below the API's URL, with places for values.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Template {
    pieces: Vec<Piece>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    Text(String),
    Place(Place),
}

/// What can be put into a template.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// The row's id.
    Id,
    /// The latest `updated_at` that is known.
    Since,
    /// The page's number.
    Page,
    /// How many rows stand before the page.
    Offset,
    /// Rows a page.
    Limit,
}

impl Place {
    fn named(name: &str) -> Option<Place> {
        Some(match name {
            "id" => Place::Id,
            "since" => Place::Since,
            "page" => Place::Page,
            "offset" => Place::Offset,
            "limit" => Place::Limit,
            _ => return None,
        })
    }
}

impl Template {
    /// Reads a template; gives a clause if it is none. Only `allowed` may stand in braces.
    pub(super) fn read(text: &str, allowed: &[Place]) -> Result<Template, String> {
        if !text.starts_with('/') {
            return Err("a template begins with /; what stands before it is in url".to_owned());
        }
        if text.contains(|c: char| c.is_whitespace() || c.is_control() || c == '#') {
            return Err("a template is a path and a query, percent-encoded".to_owned());
        }
        let mut pieces = Vec::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once('{') {
            let (name, after) = after
                .split_once('}')
                .ok_or_else(|| "a brace without its other half".to_owned())?;
            let place = Place::named(name).filter(|place| allowed.contains(place));
            let place = place.ok_or_else(|| format!("{{{name}}} means nothing here"))?;
            pieces.push(Piece::Text(before.to_owned()));
            pieces.push(Piece::Place(place));
            rest = after;
        }
        pieces.push(Piece::Text(rest.to_owned()));
        Ok(Template { pieces })
    }

    /// Whether `place` stands in it.
    pub(super) fn has(&self, place: Place) -> bool {
        self.pieces.contains(&Piece::Place(place))
    }

    /// The path with values put in, percent-encoded. A place without a value is left empty.
    pub(super) fn fill(&self, values: &[(Place, &str)]) -> String {
        let mut path = String::new();
        for piece in &self.pieces {
            match piece {
                Piece::Text(text) => path.push_str(text),
                Piece::Place(place) => {
                    let value = values.iter().find(|(named, _)| named == place);
                    let value = value.map_or("", |(_, value)| value);
                    path.extend(utf8_percent_encode(value, NON_ALPHANUMERIC));
                }
            }
        }
        path
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_percent_encoded_whatever_they_hold() {
        let template = Template::read("/a/{id}?n={limit}", &[Place::Id, Place::Limit]).unwrap();
        let filled = template.fill(&[(Place::Limit, "10"), (Place::Id, "../b?c=ä/")]);
        assert_eq!(filled, "/a/%2E%2E%2Fb%3Fc%3D%C3%A4%2F?n=10");
        assert!(template.has(Place::Id) && !template.has(Place::Page));
    }

    #[test]
    fn a_template_that_could_not_be_filled_is_refused() {
        for wrong in ["todos", "/a b", "/{id", "/{key}", "/{page}", "/a#b"] {
            assert!(Template::read(wrong, &[Place::Id]).is_err(), "{wrong}");
        }
    }
}
