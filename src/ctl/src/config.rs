//! The file with contexts: installations by name, as in kubectl's.
//!
//! ```yaml
//! currentContext: production
//! contexts:
//!   - name: production
//!     url: https://elbow.example.com:8443
//!     tokenFile: /home/me/.config/elbow/production.token
//!     caFile: /home/me/.config/elbow/ca.pem
//! ```

use std::{
    env, fs, io,
    path::{Path, PathBuf},
};

use serde::Deserialize;

use crate::Error;

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Config {
    current_context: Option<String>,
    #[serde(default)]
    contexts: Vec<Context>,
}

/// One installation. A token stands in a file of its own, so that this one can be shared.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Context {
    pub(crate) name: String,
    pub(crate) url: String,
    pub(crate) token_file: Option<PathBuf>,
    pub(crate) ca_file: Option<PathBuf>,
}

impl Config {
    /// The file that was named must be there; the usual one need not.
    pub(crate) fn read(named: Option<&Path>) -> Result<Self, Error> {
        let Some(path) = named.map(Path::to_owned).or_else(usual) else {
            return Ok(Self::default());
        };
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if named.is_none() && error.kind() == io::ErrorKind::NotFound => {
                return Ok(Self::default());
            }
            Err(error) => return Err(Error::file(format!("reading {}", path.display()))(error)),
        };
        serde_saphyr::from_str(&text)
            .map_err(|error| Error::usage(format!("{}: {}", path.display(), error.without_snippet())))
    }

    /// The context of this name, or the current one; `None`: nothing says which.
    pub(crate) fn context(&self, name: Option<&str>) -> Result<Option<Context>, Error> {
        let Some(name) = name.or(self.current_context.as_deref()) else {
            return Ok(None);
        };
        let found = self.contexts.iter().find(|context| context.name == name);
        found.cloned().map(Some).ok_or_else(|| {
            let names: Vec<_> = self.contexts.iter().map(|context| &context.name).collect();
            Error::usage(format!(
                "there is no context `{name}`; the configuration has {names:?}"
            ))
        })
    }
}

fn usual() -> Option<PathBuf> {
    let folder = env::var_os("XDG_CONFIG_HOME")
        .map(PathBuf::from)
        .or_else(|| Some(PathBuf::from(env::var_os("HOME")?).join(".config")));
    Some(folder?.join("elbow/config.yaml"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "currentContext: a\ncontexts:\n  - {name: a, url: 'https://a'}\n  - {name: b, url: 'https://b', tokenFile: t}\n";

    #[test]
    fn a_context_is_found_by_name_and_the_current_one_without() {
        let config: Config = serde_saphyr::from_str(TEXT).unwrap();
        assert_eq!(config.context(None).unwrap().unwrap().url, "https://a");
        assert_eq!(config.context(Some("b")).unwrap().unwrap().url, "https://b");
        let error = config.context(Some("c")).unwrap_err();
        assert!(error.to_string().contains("[\"a\", \"b\"]"), "{error}");
        assert!(Config::default().context(None).unwrap().is_none());
    }

    #[test]
    fn a_misspelt_key_is_an_error_and_not_ignored() {
        let error =
            serde_saphyr::from_str::<Config>("contexts:\n  - {name: a, url: u, tokenfile: t}\n").unwrap_err();
        assert!(error.to_string().contains("tokenfile"), "{error}");
    }
}
