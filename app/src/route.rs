//! Which page a path names. Knows no history and no link; the router hands it the path.

/// Longest content id we try to read: a CIDv1 in base 2 has 300 characters, base 32 has 59.
const MAX_ID_LEN: usize = 512;

/// A page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Route {
    /// The library: `/`.
    Home,
    /// One work: `/w/{id}`. The id is as written by whoever made the link, and not yet checked.
    Watch(String),
    /// What this tab's node does: `/node`.
    Node,
    /// Choices kept on this device: `/settings`.
    Settings,
    /// Nothing we have.
    Missing(String),
}

impl Route {
    /// Reads a path without query and fragment. A trailing slash does not matter.
    #[must_use]
    pub fn parse(path: &str) -> Self {
        let trimmed = path.trim_matches('/');
        match trimmed.split_once('/') {
            None if trimmed.is_empty() => Self::Home,
            None if trimmed == "node" => Self::Node,
            None if trimmed == "settings" => Self::Settings,
            Some(("w", id)) if !id.contains('/') && id.len() <= MAX_ID_LEN => {
                Self::Watch(id.to_owned())
            }
            _ => Self::Missing(path.chars().take(MAX_ID_LEN).collect()),
        }
    }
}

/// The page of a work.
#[must_use]
pub fn watch(id: &str) -> String {
    format!("/w/{id}")
}

/// Where the service worker answers with a file's plaintext. Paths of a manifest are `[A-Za-z0-9._-/]`,
/// so nothing needs escaping.
#[must_use]
pub fn stream(id: &str, path: &str) -> String {
    format!("/stream/{id}/{path}")
}

/// Where a work's poster is, straight from the relay: lists ask for many, and few of them are opened.
#[must_use]
pub fn poster(cid: &str) -> String {
    format!("/ipfs/{cid}")
}

/// The same by way of the service worker, which is told the work, looks in the store and keeps it there.
#[must_use]
pub fn kept_poster(cid: &str, work: &str) -> String {
    format!("/ipfs/{cid}?work={work}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(path: &str, want: Route) {
        assert_eq!(Route::parse(path), want, "{path}");
    }

    #[test]
    fn every_page_has_its_path() {
        check("/", Route::Home);
        check("", Route::Home);
        check("/node", Route::Node);
        check("/settings", Route::Settings);
        check("/w/bafyabc", Route::Watch("bafyabc".into()));
    }

    #[test]
    fn a_trailing_slash_does_not_matter() {
        check("/node/", Route::Node);
        check("/w/bafyabc/", Route::Watch("bafyabc".into()));
    }

    #[test]
    fn a_strange_id_still_reaches_the_watch_page_which_explains_it() {
        check("/w/not-an-id", Route::Watch("not-an-id".into()));
    }

    #[test]
    fn anything_else_is_missing() {
        check("/w", Route::Missing("/w".into()));
        check("/w/a/b", Route::Missing("/w/a/b".into()));
        check("/nodes", Route::Missing("/nodes".into()));
    }

    #[test]
    fn an_endless_path_is_cut() {
        let Route::Missing(kept) = Route::parse(&format!("/w/{}", "a".repeat(10_000))) else {
            panic!("a path of 10,000 characters names no work");
        };
        assert_eq!(kept.len(), MAX_ID_LEN);
    }
}
