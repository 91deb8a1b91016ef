//! The web app: `dist/` embedded into the binary, or a folder named by `--app`.
//!
//! Serves files by exact name and `index.html` for the app's own routes, never for `/stream/`,
//! `/ipfs/`, `/api/` or a name with an ending: a service worker that is not there yet must see an
//! error, not a page. Names are checked by `core::path`, so no request leaves the folder.

use std::{fs, path::PathBuf};

use axum::{
    body::Body,
    extract::State,
    http::{HeaderMap, HeaderValue, StatusCode, Uri, header},
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use sluice_core::{Digest, path::FilePath, range};

use super::{AppState, Problem};

/// Longest file of the app that is served; the node module has about 2 MB.
const MAX_ASSET_LEN: u64 = 64 * 1024 * 1024;

/// Where the app's files are.
#[derive(Debug, Clone)]
pub enum Assets {
    /// In this binary.
    Embedded,
    /// In a folder.
    Folder(PathBuf),
}

#[cfg(feature = "embed-app")]
#[derive(rust_embed::RustEmbed)]
#[folder = "../dist"]
struct Embedded;

impl Assets {
    /// A file's bytes.
    fn read(&self, name: &str) -> Option<Bytes> {
        let name = FilePath::try_from(name).ok()?;
        match self {
            #[cfg(feature = "embed-app")]
            Self::Embedded => Embedded::get(name.as_str()).map(|file| match file.data {
                std::borrow::Cow::Borrowed(bytes) => Bytes::from_static(bytes),
                std::borrow::Cow::Owned(bytes) => bytes.into(),
            }),
            #[cfg(not(feature = "embed-app"))]
            Self::Embedded => None,
            Self::Folder(folder) => {
                let path = folder.join(name.as_str());
                let metadata = fs::metadata(&path).ok()?;
                if !metadata.is_file() || metadata.len() > MAX_ASSET_LEN {
                    return None;
                }
                fs::read(path).ok().map(Bytes::from)
            }
        }
    }

    /// Whether there is an app at all.
    pub fn exist(&self) -> bool {
        self.read("index.html").is_some()
    }
}

/// Answers `GET` and `HEAD` of everything that no other route takes.
pub(super) async fn file(
    State(state): State<AppState>,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let assets = state.assets.clone();
    // A folder's files are read from the disk.
    tokio::task::spawn_blocking(move || answer(&assets, uri.path(), &headers))
        .await
        .unwrap_or_else(|_| {
            Err(Problem::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "the relay is stopping; try again in a moment",
            ))
        })
}

fn answer(assets: &Assets, path: &str, headers: &HeaderMap) -> Result<Response, Problem> {
    let name = path.trim_start_matches('/');
    let page = match route(name) {
        Route::Page => true,
        Route::File => false,
        Route::Stream => {
            return Err(Problem::not_found(
                "/stream/ is answered by the service worker of the web app; \
                 open the work's page in a browser that has service workers",
            ));
        }
        Route::Nothing => {
            return Err(Problem::not_found(
                "there is nothing at this address; start at / or see /api/v1/works",
            ));
        }
    };
    let name = if page { "index.html" } else { name };
    let Some(bytes) = assets.read(name) else {
        return Err(Problem::not_found(if !assets.exist() {
            "this relay has no web app; build it with `cargo xtask build`, or start it with --app DIR"
        } else {
            "the web app has no such file; reload the page"
        }));
    };
    // Weak, because the packed form answers to it too.
    let etag = format!("\"{}\"", &Digest::of(&bytes).to_string()[..32]);
    let tag = headers
        .get(header::IF_NONE_MATCH)
        .and_then(|value| value.to_str().ok());
    let packed = takes_brotli(headers)
        .then(|| assets.read(&format!("{name}.br")))
        .flatten();
    let mut response = if range::none_match_hits(tag, &etag) {
        StatusCode::NOT_MODIFIED.into_response()
    } else {
        Response::new(Body::from(packed.clone().unwrap_or(bytes)))
    };
    let out = response.headers_mut();
    out.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static(content_type(name)),
    );
    out.insert(header::VARY, HeaderValue::from_static("Accept-Encoding"));
    if packed.is_some() {
        out.insert(header::CONTENT_ENCODING, HeaderValue::from_static("br"));
    }
    let cache = if is_hashed(name) {
        "public, max-age=31536000, immutable"
    } else {
        "no-cache"
    };
    out.insert(header::CACHE_CONTROL, HeaderValue::from_static(cache));
    if let Ok(etag) = HeaderValue::try_from(format!("W/{etag}")) {
        out.insert(header::ETAG, etag);
    }
    let policy = if page {
        page_policy(&script_hashes(assets))
    } else {
        worker_policy()
    };
    if let Ok(policy) = HeaderValue::try_from(policy) {
        out.insert(header::CONTENT_SECURITY_POLICY, policy);
    }
    Ok(response)
}

#[derive(Debug, PartialEq, Eq)]
enum Route {
    Page,
    File,
    Stream,
    Nothing,
}

/// What an address without its leading slash asks for.
fn route(name: &str) -> Route {
    let (first, rest) = name.split_once('/').unwrap_or((name, ""));
    let last = name.rsplit('/').next().unwrap_or_default();
    match first {
        "stream" => Route::Stream,
        "ipfs" | "api" => Route::Nothing,
        "index.html" if rest.is_empty() => Route::Page,
        _ if last.contains('.') => Route::File,
        _ => Route::Page,
    }
}

/// Whether a name carries the hash of its content, as `app-0123456789abcdef.js` does.
fn is_hashed(name: &str) -> bool {
    let stem = name.split('.').next().unwrap_or_default();
    stem.split(['-', '_'])
        .any(|part| part.len() >= 8 && part.bytes().all(|byte| byte.is_ascii_hexdigit()))
}

fn takes_brotli(headers: &HeaderMap) -> bool {
    headers
        .get(header::ACCEPT_ENCODING)
        .and_then(|value| value.to_str().ok())
        .is_some_and(|value| {
            value.split(',').any(|coding| {
                let (name, weight) = coding.split_once(';').unwrap_or((coding, ""));
                let weight = weight.trim().strip_prefix("q=").unwrap_or("1").trim();
                name.trim().eq_ignore_ascii_case("br")
                    && weight.parse::<f32>().is_ok_and(|weight| weight > 0.0)
            })
        })
}

fn content_type(name: &str) -> &'static str {
    match name.rsplit('.').next().unwrap_or_default() {
        "html" => "text/html; charset=utf-8",
        "js" | "mjs" => "text/javascript; charset=utf-8",
        "css" => "text/css; charset=utf-8",
        "wasm" => "application/wasm",
        "json" | "map" => "application/json",
        "webmanifest" => "application/manifest+json",
        "svg" => "image/svg+xml",
        "png" => "image/png",
        "ico" => "image/x-icon",
        "webp" => "image/webp",
        "jpg" | "jpeg" => "image/jpeg",
        "woff2" => "font/woff2",
        "txt" => "text/plain; charset=utf-8",
        _ => "application/octet-stream",
    }
}

/// The hashes of the inline scripts that the build put into `index.html`, from `shell.json`.
fn script_hashes(assets: &Assets) -> Vec<String> {
    let Some(bytes) = assets.read("shell.json") else {
        return Vec::new();
    };
    let shell: serde_json::Value = serde_json::from_slice(&bytes).unwrap_or_default();
    shell["script_hashes"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|hash| hash.as_str())
        // A policy is one line of tokens; anything else in the file must not bend it.
        .filter(|hash| {
            hash.starts_with("sha")
                && hash
                    .bytes()
                    .all(|b| b.is_ascii_alphanumeric() || b"+/=-_".contains(&b))
        })
        .map(|hash| format!("'{hash}'"))
        .collect()
}

/// Where pages and their service worker may connect: us, any HTTPS gateway or WebTransport or WSS
/// relay, and plain relays on this very machine.
///
/// Why not `'unsafe-webtransport-hashes'`? No browser enforces it yet, and Chromium 156 reports it
/// as an invalid source on every page.
const CONNECT: &str = "connect-src 'self' https: wss: http://localhost:* http://127.0.0.1:* \
     ws://localhost:* ws://127.0.0.1:*";

/// What a page may do: run our scripts and WASM, nothing inline but what the build hashed.
fn page_policy(script_hashes: &[String]) -> String {
    let mut scripts = String::from("script-src 'self' 'wasm-unsafe-eval'");
    for hash in script_hashes {
        scripts.push(' ');
        scripts.push_str(hash);
    }
    format!(
        "default-src 'none'; {scripts}; style-src 'self'; style-src-attr 'unsafe-inline'; \
         img-src 'self' blob: data:; media-src 'self' blob:; font-src 'self'; {CONNECT}; \
         worker-src 'self'; manifest-src 'self'; base-uri 'none'; form-action 'none'; \
         frame-ancestors 'none'"
    )
}

/// What a worker started from one of our files may do: a page's policy does not bind it.
fn worker_policy() -> String {
    format!(
        "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; {CONNECT}; \
         base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_apps_own_routes_get_the_page() {
        for name in ["", "w/bafyr4iabc", "node", "settings", "index.html"] {
            assert_eq!(route(name), Route::Page, "{name}");
        }
        for name in ["sw.js", "app-1.js", "w/x.mp4", "../etc/passwd.txt"] {
            assert_eq!(route(name), Route::File, "{name}");
        }
        assert_eq!(route("stream/bafy/x.mp4"), Route::Stream);
        assert_eq!(route("stream"), Route::Stream);
        assert_eq!(route("ipfs"), Route::Nothing);
        assert_eq!(route("api/v2/x"), Route::Nothing);
    }

    #[test]
    fn names_with_a_hash_never_change_and_others_may() {
        for name in [
            "app-0123456789abcdef.js",
            "app-0123456789abcdef_bg.wasm",
            "style-deadbeef.css",
        ] {
            assert!(is_hashed(name), "{name}");
        }
        for name in [
            "sw.js",
            "index.html",
            "shell.json",
            "manifest.webmanifest",
            "icon-192.png",
        ] {
            assert!(!is_hashed(name), "{name}");
        }
    }

    #[test]
    fn nothing_outside_the_folder_is_read() {
        let folder = tempfile::tempdir().expect("a folder");
        fs::create_dir(folder.path().join("app")).expect("a folder");
        fs::write(folder.path().join("secret.txt"), "x").expect("a file");
        let assets = Assets::Folder(folder.path().join("app"));
        for name in [
            "../secret.txt",
            "/etc/passwd",
            "a/../../secret.txt",
            "..%2fsecret.txt",
            "",
        ] {
            assert!(assets.read(name).is_none(), "{name}");
        }
    }

    #[test]
    fn a_hostile_shell_file_cannot_bend_the_policy() {
        let folder = tempfile::tempdir().expect("a folder");
        let shell = r#"{"script_hashes":["sha256-abc+/=","sha256-x'; script-src *",7]}"#;
        fs::write(folder.path().join("shell.json"), shell).expect("a file");
        let assets = Assets::Folder(folder.path().into());
        assert_eq!(script_hashes(&assets), ["'sha256-abc+/='"]);
    }
}
