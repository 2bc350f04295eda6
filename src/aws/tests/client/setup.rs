//! What is wrong with the settings is said before anything is sent.

use std::{path::PathBuf, sync::Arc};

use aws::{Aws, Error, Metrics, Settings};
use prometheus_client::registry::Registry;

use crate::support::{now, settings};

async fn set_up(settings: Settings) -> Result<Aws, Error> {
    Aws::new(settings, Metrics::new(&mut Registry::default()), Arc::new(now)).await
}

#[tokio::test]
async fn a_ca_file_that_is_not_there_is_named() {
    let settings = Settings {
        ca_file: Some(PathBuf::from("/nowhere/ca.pem")),
        ..settings("https://127.0.0.1:1")
    };
    let error = set_up(settings).await.expect_err("no such file");
    assert!(error.to_string().contains("/nowhere/ca.pem"), "{error}");
}

#[tokio::test]
async fn a_ca_file_without_certificates_is_refused() {
    let path = std::env::temp_dir().join(format!("elbow-no-ca-{}.pem", std::process::id()));
    for text in [
        "",
        "no PEM",
        "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
    ] {
        std::fs::write(&path, text).unwrap();
        let settings = Settings {
            ca_file: Some(path.clone()),
            ..settings("https://127.0.0.1:1")
        };
        let result = set_up(settings).await;
        assert!(matches!(result, Err(Error::CaFile { .. })), "{text:?}");
    }
    std::fs::remove_file(&path).unwrap();
}

#[tokio::test]
async fn secrets_are_not_printed() {
    assert!(
        !format!("{:?}", settings("https://127.0.0.1:1")).contains("wJalr"),
        "the secret is in Debug"
    );
}
