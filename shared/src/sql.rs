//! How names, texts and bound values stand in SQL that is built at run time.
//!
//! Must not know what the SQL says.

/// What stands in a statement's text for a bound value; values follow in its order.
pub const PLACEHOLDER: &str = ":?";

/// An identifier as it stands in SQL, whatever is in it. The one function that quotes names.
#[must_use]
pub fn quote(identifier: &str) -> String {
    format!("\"{}\"", identifier.replace('"', "\"\""))
}

/// A text as it stands in SQL: only for what is no value of a user's and where nothing can be bound. A
/// backslash means itself, PostgreSQL's `standard_conforming_strings` being on.
#[must_use]
pub fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

/// The text between placeholders. Inside double quotes there are none: a column may be called `:?`.
pub fn pieces(sql: &str) -> impl Iterator<Item = &str> {
    let mut rest = Some(sql);
    std::iter::from_fn(move || {
        let text = rest?;
        let mut quoted = false;
        for (at, byte) in text.bytes().enumerate() {
            quoted ^= byte == b'"';
            if byte == b':'
                && !quoted
                && text
                    .get(at..)
                    .is_some_and(|tail| tail.starts_with(PLACEHOLDER))
            {
                rest = text.get(at + PLACEHOLDER.len()..);
                return text.get(..at);
            }
        }
        rest = None;
        Some(text)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_inside_names_and_texts_are_doubled() {
        assert_eq!(quote(r#"a"b'c"#), r#""a""b'c""#);
        assert_eq!(literal(r#"a"b'c"#), r#"'a"b''c'"#);
    }

    #[test]
    fn a_placeholder_inside_a_quoted_name_is_part_of_the_name() {
        let found: Vec<&str> =
            pieces(r#"SELECT "a:?""b" FROM t WHERE x = :? AND y = :?"#).collect();
        assert_eq!(
            found,
            [r#"SELECT "a:?""b" FROM t WHERE x = "#, " AND y = ", ""]
        );
    }
}
