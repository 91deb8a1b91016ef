//! Paths of files within a work.
//!
//! A path comes from a stranger's manifest and ends in URLs and on disks, so it is far narrower
//! than what either allows: relative, `/`-separated segments of `[A-Za-z0-9._-]` that begin with none
//! of `.` and `-`. So there is no `..`, and a fetched work is neither a hidden file that a shell
//! reads nor a name that a command takes for an option.

use std::fmt;

/// Longest path, in bytes.
pub const MAX_PATH_LEN: usize = 255;

/// A checked path; it always names something inside the work's own folder.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FilePath(String);

/// A path the format does not allow.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PathError {
    /// No segment, or an empty one (a leading, trailing or doubled slash).
    #[error("a path needs a name between its slashes")]
    EmptySegment,
    /// A segment that begins with `.` (`..` among them) or `-`.
    #[error("a name in a path may not begin with a dot or a hyphen")]
    Start,
    /// A character outside `[A-Za-z0-9._-]`.
    #[error(
        "a path may not contain {0:?}; letters, digits, dot, underscore and hyphen may stand in it"
    )]
    Character(char),
    /// Past [`MAX_PATH_LEN`].
    #[error("a path may have at most 255 bytes")]
    TooLong,
}

impl FilePath {
    /// The path as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The name's ending after its last dot, in lower case.
    pub fn extension(&self) -> Option<String> {
        let name = self.0.rsplit('/').next()?;
        let (stem, extension) = name.rsplit_once('.')?;
        (!stem.is_empty()).then(|| extension.to_ascii_lowercase())
    }

    /// Whether one path would be a folder of the other on a disk.
    pub fn nests_with(&self, other: &Self) -> bool {
        let (short, long) = if self.0.len() < other.0.len() {
            (&self.0, &other.0)
        } else {
            (&other.0, &self.0)
        };
        long.strip_prefix(short.as_str())
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    }

    /// A path for a source file of any name: what is not allowed becomes `-`.
    pub fn suggest(name: &str) -> Self {
        let mut text: String = name
            .chars()
            .map(|c| if allowed(c) { c } else { '-' })
            .take(MAX_PATH_LEN)
            .collect();
        while text.contains("--") {
            text = text.replace("--", "-");
        }
        let text = text.trim_start_matches(['.', '-']);
        Self(if text.is_empty() { "file" } else { text }.to_owned())
    }
}

fn allowed(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-')
}

impl TryFrom<String> for FilePath {
    type Error = PathError;

    fn try_from(text: String) -> Result<Self, PathError> {
        if text.len() > MAX_PATH_LEN {
            return Err(PathError::TooLong);
        }
        for segment in text.split('/') {
            match segment.chars().next() {
                None => return Err(PathError::EmptySegment),
                Some('.' | '-') => return Err(PathError::Start),
                Some(_) => {}
            }
            if let Some(c) = segment.chars().find(|c| !allowed(*c)) {
                return Err(PathError::Character(c));
            }
        }
        Ok(Self(text))
    }
}

impl TryFrom<&str> for FilePath {
    type Error = PathError;

    fn try_from(text: &str) -> Result<Self, PathError> {
        Self::try_from(text.to_owned())
    }
}

impl From<FilePath> for String {
    fn from(path: FilePath) -> Self {
        path.0
    }
}

impl fmt::Display for FilePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for FilePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[track_caller]
    fn check(text: &str, want: Result<(), PathError>) {
        assert_eq!(FilePath::try_from(text).map(|_| ()), want, "{text:?}");
    }

    #[test]
    fn plain_names_and_folders_pass() {
        for text in ["a.mp4", "hls/720p.m4s", "a..b", "A_-9", "_x"] {
            check(text, Ok(()));
        }
    }

    #[test]
    fn whatever_could_leave_the_folder_is_refused() {
        check("", Err(PathError::EmptySegment));
        check("/etc/passwd", Err(PathError::EmptySegment));
        check("a//b", Err(PathError::EmptySegment));
        check("a/", Err(PathError::EmptySegment));
        check("../x", Err(PathError::Start));
        check("a/../b", Err(PathError::Start));
        check("./a", Err(PathError::Start));
        check(".ssh/authorized-keys", Err(PathError::Start));
        check("a/-rf", Err(PathError::Start));
        check("a\\b", Err(PathError::Character('\\')));
        check("a b", Err(PathError::Character(' ')));
        check("a%2e", Err(PathError::Character('%')));
        check("é", Err(PathError::Character('é')));
        check("a\0", Err(PathError::Character('\0')));
        check(&"a".repeat(256), Err(PathError::TooLong));
    }

    #[test]
    fn a_file_cannot_be_another_files_folder() {
        let path = |text: &str| FilePath::try_from(text).expect("allowed");
        assert!(path("a").nests_with(&path("a/b")));
        assert!(path("a/b").nests_with(&path("a/b")));
        assert!(!path("a").nests_with(&path("ab")));
    }

    #[test]
    fn extension_is_lower_case_and_needs_a_stem() {
        let extension = |text: &str| FilePath::try_from(text).expect("allowed").extension();
        assert_eq!(extension("a/B.MP4"), Some("mp4".into()));
        assert_eq!(extension("mp4"), None);
        assert_eq!(extension("a.b/c"), None);
    }

    proptest! {
        #[test]
        fn a_suggested_path_is_always_allowed(name in "\\PC{0,400}") {
            let path = FilePath::suggest(&name);
            prop_assert_eq!(FilePath::try_from(path.as_str()), Ok(path.clone()));
        }
    }
}
