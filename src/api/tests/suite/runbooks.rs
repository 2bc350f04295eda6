//! Every reason, hold and problem has its section, each section is of use, and nothing is explained that there is not.

use std::collections::{BTreeMap, BTreeSet};

use api::{problem::Kind, runbook::Family};
use axum::{
    body::Body,
    http::{Request, StatusCode, header},
};
use clap::Parser;
use model::{condition::Reason, plan::HoldReason};

use crate::support::Api;

const LABELS: [&str; 4] = ["- Meaning: ", "- Risk: ", "- Look: ", "- Do: "];

fn words<T: ToString>(all: impl IntoIterator<Item = T>) -> BTreeSet<String> {
    all.into_iter().map(|one| one.to_string()).collect()
}

/// The commands of `elbow` in a text, with what stands for names left as it is.
fn commands(text: &str) -> impl Iterator<Item = &str> {
    let quoted = text.split('`').skip(1).step_by(2);
    quoted.filter(|quoted| quoted.starts_with("elbow ") || quoted.starts_with("elbow-server "))
}

#[test]
fn every_reason_has_a_section_and_every_section_a_reason() {
    let families: BTreeMap<&str, BTreeSet<String>> = [
        (Family::Conditions.name(), words(Reason::ALL)),
        (Family::Holds.name(), words(HoldReason::ALL)),
        (
            Family::Problems.name(),
            words(Kind::all().map(|kind| kind.row().slug)),
        ),
    ]
    .into();
    for family in Family::ALL {
        let sections: Vec<_> = family.sections().map(|(name, _)| name.to_owned()).collect();
        let unique: BTreeSet<_> = sections.iter().cloned().collect();
        assert_eq!(
            unique.len(),
            sections.len(),
            "{family:?} explains something twice"
        );
        // The alerts are held against their rules where these are read.
        if let Some(wanted) = families.get(family.name()) {
            let missing: Vec<_> = wanted.difference(&unique).collect();
            let orphaned: Vec<_> = unique.difference(wanted).collect();
            assert!(
                missing.is_empty() && orphaned.is_empty(),
                "deploy/runbooks/{}.md: missing {missing:?}, of nothing {orphaned:?}",
                family.name()
            );
        }
    }
}

#[test]
fn every_section_says_what_it_means_what_is_at_risk_where_to_look_and_what_to_do() {
    for (family, (name, text)) in Family::ALL
        .into_iter()
        .flat_map(|family| family.sections().map(move |section| (family, section)))
    {
        let lines: Vec<_> = text.lines().skip(1).collect();
        assert_eq!(lines.len(), LABELS.len(), "{family:?} {name}: {text}");
        for (line, label) in lines.iter().zip(LABELS) {
            let said = line
                .strip_prefix(label)
                .unwrap_or_else(|| panic!("{family:?} {name} has `{line}` where `{label}` belongs"));
            assert!(said.len() > 3, "{family:?} {name}: {line}");
        }
    }
}

#[test]
fn every_command_of_a_runbook_is_one() {
    let mut seen = 0;
    for command in Family::ALL.into_iter().flat_map(|family| commands(family.page())) {
        let parsed = ctl::Cli::try_parse_from(command.split(' '));
        let good = match &parsed {
            Ok(_) => true,
            Err(error) => error.kind() == clap::error::ErrorKind::DisplayHelp,
        };
        assert!(
            good || command == "elbow-server serve --help",
            "`{command}`: {}",
            parsed.err().map(|error| error.to_string()).unwrap_or_default()
        );
        seen += 1;
    }
    assert!(seen > 60, "{seen} commands were found");
}

#[tokio::test]
async fn the_type_of_a_problem_leads_to_its_section_without_a_token() -> anyhow::Result<()> {
    let api = Api::start().await?;
    let get = async |path: &str| {
        let request = Request::get(path).body(Body::empty())?;
        let response = tower::ServiceExt::oneshot(api.router(), request).await?;
        let (parts, body) = response.into_parts();
        let body = axum::body::to_bytes(body, 1 << 20).await?;
        anyhow::Ok((parts.status, parts.headers, String::from_utf8(body.to_vec())?))
    };
    for kind in Kind::all() {
        let path = format!("/problems/{}", kind.row().slug);
        let (status, headers, text) = get(&path).await?;
        assert_eq!(status, StatusCode::OK, "{path}");
        assert_eq!(headers[header::CONTENT_TYPE], "text/markdown; charset=utf-8");
        assert!(text.starts_with(&format!("### {}\n", kind.row().slug)), "{text}");
    }
    let (status, _, text) = get("/runbooks/holds/LastTarget").await?;
    assert!(
        status.is_success() && text.contains("- Risk: releasing wrongly empties the group"),
        "{text}"
    );
    let (status, _, text) = get("/runbooks/conditions").await?;
    assert!(status.is_success() && text.contains("### Contested"), "{text}");
    for nothing in [
        "/problems/nothing",
        "/runbooks/nothing",
        "/runbooks/holds/..%2Fconditions",
    ] {
        let (status, headers, text) = get(nothing).await?;
        assert_eq!(status, StatusCode::NOT_FOUND, "{nothing}");
        assert_eq!(
            headers[header::CONTENT_TYPE],
            "application/problem+json",
            "{text}"
        );
    }
    Ok(())
}
