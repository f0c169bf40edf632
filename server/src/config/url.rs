//! Database URLs: which backend they mean, and how to show one without its password.

use std::fmt;

use percent_encoding::percent_decode_str;

use super::ConfigError;

/// Where the rows are. Shown without its password.
#[derive(Clone, PartialEq, Eq)]
pub enum DatabaseUrl {
    /// An SQLite file, made if it is not there.
    Sqlite {
        /// Its path, relative to the working directory.
        path: String,
    },
    /// A PostgreSQL database.
    Postgres {
        /// The URL as libpq takes it.
        url: String,
    },
}

impl DatabaseUrl {
    /// Reads `sqlite://PATH`, `postgres://…` or `postgresql://…`.
    pub(super) fn parse(text: &str) -> Result<DatabaseUrl, ConfigError> {
        // The text is not repeated: it may hold a password where no one would look for it.
        let refuse = |reason: &str| Err(ConfigError::invalid("database_url", reason));
        match text.split_once("://") {
            Some(("sqlite", ":memory:")) => {
                refuse("a database in memory would be another one for each connection")
            }
            Some(("sqlite", path)) if path.is_empty() || path.contains(['?', '\0']) => {
                refuse("the scheme sqlite:// is followed by the path of a file, without parameters")
            }
            Some(("sqlite", path)) => Ok(DatabaseUrl::Sqlite {
                path: path.to_owned(),
            }),
            Some(("postgres" | "postgresql", rest)) if !rest.contains('\0') => {
                Ok(DatabaseUrl::Postgres {
                    url: text.to_owned(),
                })
            }
            Some(_) | None => {
                refuse("begins with none of sqlite://, postgres:// and postgresql://")
            }
        }
    }
}

impl fmt::Display for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DatabaseUrl::Sqlite { path } => write!(f, "sqlite://{path}"),
            DatabaseUrl::Postgres { url } => f.write_str(&redacted_url(url)),
        }
    }
}

impl fmt::Debug for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// `url` with its passwords replaced by `***`, in the authority and in the parameters.
///
/// Where a password was written unescaped, with `@`, `/` or `?` in it, too much is hidden, not too little.
#[must_use]
pub fn redacted_url(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else {
        return "***".to_owned();
    };
    let (user, rest) = match rest.rsplit_once('@') {
        Some((credentials, rest)) => match credentials.split_once(':') {
            Some((user, _password)) => (format!("{user}:***@"), rest),
            None => (format!("{credentials}@"), rest),
        },
        None => (String::new(), rest),
    };
    let Some((place, parameters)) = rest.split_once('?') else {
        return format!("{scheme}://{user}{rest}");
    };
    let parameters = parameters.split('&').map(|parameter| {
        let name = parameter.split('=').next().unwrap_or_default();
        let secret = percent_decode_str(name)
            .decode_utf8_lossy()
            .to_ascii_lowercase()
            .contains("password");
        if secret {
            format!("{name}=***")
        } else {
            parameter.to_owned()
        }
    });
    let parameters: Vec<String> = parameters.collect();
    format!("{scheme}://{user}{place}?{}", parameters.join("&"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_shown_without_its_passwords() {
        for (url, shown) in [
            ("postgres://u:secret@h:5432/d", "postgres://u:***@h:5432/d"),
            ("postgres://u:se:c@r/e?t@h/d", "postgres://u:***@h/d"),
            ("postgres://u@h/d", "postgres://u@h/d"),
            ("postgres://h/d", "postgres://h/d"),
            (
                "postgres://h/d?sslmode=require&password=secret&sslpassword=secret",
                "postgres://h/d?sslmode=require&password=***&sslpassword=***",
            ),
            (
                "postgres://u:secret@/d?host=/tmp&p%61ssword=secret",
                "postgres://u:***@/d?host=/tmp&p%61ssword=***",
            ),
            ("host=h password=secret", "***"),
        ] {
            assert_eq!(redacted_url(url), shown);
        }
    }
}
