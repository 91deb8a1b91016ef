//! What ties the modules together: the page, the service worker's loader, `shell.json`.
//!
//! `shell.json` is how the relay learns its Content-Security-Policy and the service worker its cache; its fields are
//! `version`, `precache`, `script_hashes`, `node_js`.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use super::module::{Module, Modules};
use crate::context::Context;
use crate::fingerprint::{Fingerprint, files};
use crate::run;

/// Stands in `index.html` for the node module's URL.
const NODE_PLACE: &str = "__SLUICE_NODE__";

/// Finishes the page and writes what it needs beside it.
pub(super) fn finish(context: &Context, stage: &Path, out: &Path, modules: &Modules) -> Result<()> {
    copy_rest(stage, out, modules)?;

    let page =
        fs::read_to_string(stage.join("index.html")).context("trunk staged no index.html")?;
    ensure!(
        page.contains(NODE_PLACE),
        "index.html lost its <meta name=\"sluice-node\" content=\"{NODE_PLACE}\">"
    );
    let page = page
        .replace(NODE_PLACE, &url(&modules.node.js))
        .replace(&modules.app.staged_js, &modules.app.js)
        .replace(&modules.app.staged_wasm, &modules.app.wasm);
    fs::write(out.join("index.html"), &page)?;

    let precache = precache(out, modules)?;
    let loader = fs::read_to_string(context.root.join("sw/loader.js"))
        .context("cannot read sw/loader.js")?;
    let version = version(out, &loader)?;
    fs::write(
        out.join("sw.js"),
        fill(&loader, &modules.sw, &version, &precache)?,
    )?;

    let shell = json!({
        "version": version,
        "precache": precache,
        "script_hashes": script_hashes(context, &page)?,
        "node_js": url(&modules.node.js),
    });
    fs::write(out.join("shell.json"), serde_json::to_vec_pretty(&shell)?)?;
    Ok(())
}

fn url(name: &str) -> String {
    format!("/{name}")
}

/// Style sheet, icons, manifest, snippets: everything Trunk staged that is neither a module nor the page.
fn copy_rest(stage: &Path, out: &Path, modules: &Modules) -> Result<()> {
    let ours = [&modules.app, &modules.sw, &modules.node];
    for file in files(stage, &[])? {
        let name = file.strip_prefix(stage)?;
        let known = name == Path::new("index.html")
            || ours.iter().any(|module| {
                name == Path::new(&module.staged_js) || name == Path::new(&module.staged_wasm)
            });
        if known {
            continue;
        }
        let target = out.join(name);
        let dir = target.parent().context("a file has a directory")?;
        fs::create_dir_all(dir)?;
        fs::copy(&file, &target).with_context(|| format!("cannot copy {}", name.display()))?;
    }
    Ok(())
}

/// What a visit without a network needs: all of it but the node, which is of no use there, and the service worker's
/// glue, which browsers keep with the worker.
fn precache(out: &Path, modules: &Modules) -> Result<Vec<String>> {
    let left_out = [
        "index.html",
        &modules.node.js,
        &modules.node.wasm,
        &modules.sw.js,
    ];
    let mut urls = vec!["/".to_owned()];
    for file in files(out, &[])? {
        let name = file.strip_prefix(out)?.to_string_lossy().into_owned();
        if !left_out.contains(&name.as_str()) {
            urls.push(url(&name));
        }
    }
    Ok(urls)
}

/// Changes when any byte of the app changes.
fn version(out: &Path, loader: &str) -> Result<String> {
    let mut version = Fingerprint::default();
    version.path(out, "", &[])?;
    Ok(version.value("loader", loader.as_bytes()).short())
}

/// Fills in the service worker's loader: strings where it has a quoted place, a list where it has `__PRECACHE__`.
fn fill(loader: &str, sw: &Module, version: &str, precache: &[String]) -> Result<String> {
    let places = [
        ("__SW_JS__", url(&sw.js)),
        ("__SW_WASM__", url(&sw.wasm)),
        ("__VERSION__", version.to_owned()),
        ("__PRECACHE__", serde_json::to_string(precache)?),
    ];
    let mut filled = loader.to_owned();
    for (place, value) in places {
        ensure!(filled.contains(place), "sw/loader.js does not use {place}");
        filled = filled.replace(place, &value);
    }
    Ok(filled)
}

/// CSP sources of the page's inline scripts, in the order they stand there.
fn script_hashes(context: &Context, page: &str) -> Result<Vec<String>> {
    const SCRIPT: &str = "import { createHash } from 'node:crypto'; import { text } from 'node:stream/consumers';
        const hash = (script) => `sha256-${createHash('sha256').update(script, 'utf8').digest('base64')}`;
        process.stdout.write(JSON.stringify(JSON.parse(await text(process.stdin)).map(hash)));";
    let input = serde_json::to_vec(&inline_scripts(page))?;
    let answer = run::pipe(
        context
            .command("node")
            .args(["--input-type=module", "--eval", SCRIPT]),
        &input,
    )?;
    let hashes: Vec<Value> = serde_json::from_str(&answer)?;
    hashes
        .into_iter()
        .map(|hash| {
            hash.as_str()
                .map(str::to_owned)
                .context("a hash is a string")
        })
        .collect()
}

/// The text of every `<script>` that has no `src`, exactly as a browser hashes it.
fn inline_scripts(page: &str) -> Vec<&str> {
    let mut scripts = Vec::new();
    let mut rest = page;
    while let Some((_, after)) = rest.split_once("<script") {
        let Some((tag, after)) = after.split_once('>') else {
            break;
        };
        let Some((text, after)) = after.split_once("</script>") else {
            break;
        };
        let has_src = tag
            .split_ascii_whitespace()
            .any(|attribute| attribute.starts_with("src="));
        if !has_src && !text.trim().is_empty() {
            scripts.push(text);
        }
        rest = after;
    }
    scripts
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sw() -> Module {
        Module {
            staged_js: "sluice-sw.js".into(),
            staged_wasm: "sluice-sw_bg.wasm".into(),
            js: "sw-1.js".into(),
            wasm: "sw-1_bg.wasm".into(),
        }
    }

    #[test]
    fn inline_scripts_are_those_without_src() {
        let page = r#"<script>a()</script><script src="/b.js"></script><script type=module>import "c"</script>"#;
        assert_eq!(inline_scripts(page), ["a()", "import \"c\""]);
    }

    #[test]
    fn attribute_that_only_ends_in_src_is_not_src() {
        assert_eq!(inline_scripts("<script data-src=x>a()</script>"), ["a()"]);
    }

    #[test]
    fn loader_gets_names_and_list() {
        let loader = "v='__VERSION__';importScripts('__SW_JS__');w='__SW_WASM__';p=__PRECACHE__";
        let filled = fill(loader, &sw(), "77", &["/".into()]).expect("every place is there");
        assert_eq!(
            filled,
            r#"v='77';importScripts('/sw-1.js');w='/sw-1_bg.wasm';p=["/"]"#
        );
    }

    #[test]
    fn loader_that_forgot_a_place_is_refused() {
        let error = fill("importScripts('__SW_JS__')", &sw(), "77", &[])
            .expect_err("three places are missing");
        assert_eq!(error.to_string(), "sw/loader.js does not use __SW_WASM__");
    }
}
