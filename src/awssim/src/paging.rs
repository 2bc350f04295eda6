//! Pages with opaque markers.

use std::time::Duration;

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use jiff::Timestamp;

/// What is wrong with a marker, for the service to say in its own words.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct BadMarker;

/// Cuts one page out of `items`, which are sorted by key.
///
/// The marker names the list, the key of the last item that was given out, and when: a marker of another list or an
/// expired one is refused. An item that came or went between two pages neither shifts nor repeats others.
pub(crate) fn page<'a, T>(
    list: &str,
    items: impl IntoIterator<Item = (&'a str, T)>,
    size: usize,
    marker: Option<&str>,
    lifetime: Duration,
    now: Timestamp,
) -> Result<(Vec<T>, Option<String>), BadMarker> {
    let after = marker
        .map(|marker| read(list, marker, lifetime, now))
        .transpose()?;
    let mut rest = items
        .into_iter()
        .filter(|(key, _)| after.as_deref().is_none_or(|after| *key > after));
    let mut page = Vec::new();
    let mut last = "";
    for (key, item) in rest.by_ref().take(size) {
        last = key;
        page.push(item);
    }
    let next = rest.next().map(|_| write(list, last, now));
    Ok((page, next))
}

fn write(list: &str, last: &str, now: Timestamp) -> String {
    BASE64_URL_SAFE_NO_PAD.encode(format!("{list}\n{}\n{last}", now.as_second()))
}

fn read(list: &str, marker: &str, lifetime: Duration, now: Timestamp) -> Result<String, BadMarker> {
    let bytes = BASE64_URL_SAFE_NO_PAD.decode(marker).map_err(|_| BadMarker)?;
    let text = String::from_utf8(bytes).map_err(|_| BadMarker)?;
    let mut parts = text.splitn(3, '\n');
    let (Some(of), Some(issued), Some(last)) = (parts.next(), parts.next(), parts.next()) else {
        return Err(BadMarker);
    };
    let issued = issued
        .parse()
        .ok()
        .and_then(|seconds| Timestamp::from_second(seconds).ok())
        .ok_or(BadMarker)?;
    if of != list || issued + lifetime < now {
        Err(BadMarker)
    } else {
        Ok(last.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const LIFETIME: Duration = Duration::from_mins(1);

    fn one(
        keys: &[String],
        size: usize,
        marker: Option<&str>,
        now: Timestamp,
    ) -> Result<(Vec<String>, Option<String>), BadMarker> {
        let items = keys.iter().map(|key| (key.as_str(), key.clone()));
        page("Things", items, size, marker, LIFETIME, now)
    }

    proptest! {
        #[test]
        fn pages_put_together_are_the_list(keys in prop::collection::btree_set("[a-z]{1,6}", 0..40), size in 1_usize..10) {
            let keys: Vec<String> = keys.into_iter().collect();
            let (mut got, mut marker) = (Vec::new(), None);
            loop {
                let (page, next) =
                    one(&keys, size, marker.as_deref(), Timestamp::UNIX_EPOCH).expect("its own marker");
                prop_assert!(page.len() <= size);
                got.extend(page);
                marker = next;
                if marker.is_none() { break }
            }
            prop_assert_eq!(got, keys);
        }
    }

    #[test]
    fn a_marker_of_another_list_a_made_up_one_and_an_expired_one_are_refused() {
        let keys: Vec<String> = ["a", "b", "c"].map(str::to_owned).to_vec();
        let now = Timestamp::UNIX_EPOCH;
        let (_, marker) = one(&keys, 1, None, now).expect("first page");
        let marker = marker.expect("there is more");
        assert_eq!(one(&keys, 1, Some("a"), now), Err(BadMarker));
        let other = page("Others", [("a", 1)], 1, Some(&marker), LIFETIME, now);
        assert_eq!(other, Err(BadMarker));
        assert_eq!(
            one(&keys, 1, Some(&marker), now + Duration::from_secs(61)),
            Err(BadMarker)
        );
        assert_eq!(one(&keys, 1, Some(&marker), now).expect("good").0, ["b"]);
    }
}
