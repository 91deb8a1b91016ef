//! The three WASM modules: optimised, and named by their final bytes.
//!
//! A module is a pair, glue and wasm, that only fits together: both carry the hash of both, and the glue names its
//! wasm. A browser may keep either for ever.

use std::fs;
use std::path::{Path, PathBuf};
use std::thread;

use anyhow::{Context as _, Result, anyhow};

use crate::context::Context;
use crate::fingerprint::{Fingerprint, files};
use crate::run;

/// What the browsers we support have, and rustc may have used; never `--all-features`, which lets wasm-opt write
/// encodings that Chromium refuses.
const FEATURES: [&str; 8] = [
    "--enable-bulk-memory",
    "--enable-bulk-memory-opt",
    "--enable-multivalue",
    "--enable-mutable-globals",
    "--enable-nontrapping-float-to-int",
    "--enable-reference-types",
    "--enable-sign-ext",
    "--enable-simd",
];

/// A module as it stands in `dist/`.
pub(super) struct Module {
    /// Name of the glue that Trunk staged, as other files may mention it.
    pub(super) staged_js: String,
    /// Name of the wasm that Trunk staged.
    pub(super) staged_wasm: String,
    /// Final name of the glue.
    pub(super) js: String,
    /// Final name of the wasm.
    pub(super) wasm: String,
}

/// The three modules a visitor loads.
pub(super) struct Modules {
    /// The pages.
    pub(super) app: Module,
    /// The service worker, bound for `importScripts`.
    pub(super) sw: Module,
    /// The libp2p node, an ES module loaded late.
    pub(super) node: Module,
}

/// Optimises and names the modules of `stage` into `out`.
pub(super) fn finish(context: &Context, stage: &Path, out: &Path) -> Result<Modules> {
    run::tell("web: wasm-opt");
    // Each is a program of its own that uses one core, so side by side is free.
    let (app, sw, node) = thread::scope(|scope| {
        let work = |package: &'static str, name: &'static str| {
            scope.spawn(move || one(context, stage, out, package, name))
        };
        let tasks = (
            work("sluice-app", "app"),
            work("sluice-sw", "sw"),
            work("sluice-node", "node"),
        );
        (tasks.0.join(), tasks.1.join(), tasks.2.join())
    });
    let done = |joined: thread::Result<Result<Module>>| {
        joined.map_err(|_| anyhow!("optimising a module panicked"))?
    };
    let modules = Modules {
        app: done(app)?,
        sw: done(sw)?,
        node: done(node)?,
    };
    prune(context, out)?;
    Ok(modules)
}

fn one(context: &Context, stage: &Path, out: &Path, package: &str, name: &str) -> Result<Module> {
    let (staged_js, staged_wasm) = staged(stage, package)?;
    let glue = fs::read_to_string(stage.join(&staged_js))
        .with_context(|| format!("cannot read {staged_js}"))?;
    let wasm = optimise(context, &stage.join(&staged_wasm))?;

    let hash = Fingerprint::default()
        .value("glue", glue.as_bytes())
        .value("wasm", &wasm)
        .short();
    let module = Module {
        js: format!("{name}-{hash}.js"),
        wasm: format!("{name}-{hash}_bg.wasm"),
        staged_js,
        staged_wasm,
    };
    // wasm-bindgen writes the name it was given, which is the package's.
    let glue = glue.replace(&format!("{package}_bg.wasm"), &module.wasm);
    let glue = if name == "sw" { anew(&glue) } else { glue };
    fs::write(out.join(&module.js), glue)?;
    fs::write(out.join(&module.wasm), wasm)?;
    Ok(module)
}

/// Glue for `importScripts` holds one instance for good. The service worker's loader needs a fresh one after a trap, so
/// it gets a function that makes them.
fn anew(glue: &str) -> String {
    format!("self.sluiceGlue = () => {{\n{glue}\nreturn wasm_bindgen;\n}};\n")
}

/// The files Trunk staged for a package: `sluice-sw.js` for a worker, `sluice-app-<hash>.js` for the main module.
fn staged(stage: &Path, package: &str) -> Result<(String, String)> {
    files(stage, &[])?
        .iter()
        .filter_map(|file| file.file_name()?.to_str()?.strip_suffix("_bg.wasm"))
        .find(|stem| {
            stem.strip_prefix(package)
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('-'))
        })
        .map(|stem| (format!("{stem}.js"), format!("{stem}_bg.wasm")))
        .with_context(|| {
            format!("trunk staged no module of {package}; is its link still in index.html?")
        })
}

/// Runs wasm-opt, or takes its earlier answer to the same bytes.
fn optimise(context: &Context, wasm: &Path) -> Result<Vec<u8>> {
    let mut wasm_opt = context.command("wasm-opt");
    wasm_opt.arg("-Oz").args(FEATURES);
    let key = Fingerprint::default()
        .value("arguments", run::show(&wasm_opt).as_bytes())
        .value(
            "tools",
            &fs::read(context.root.join("xtask/tools/package-lock.json"))?,
        )
        .value(
            "input",
            &fs::read(wasm).with_context(|| format!("cannot read {}", wasm.display()))?,
        )
        .hex();
    let kept = cache(context).join(key);
    if !kept.is_file() {
        let fresh = kept.with_extension("new");
        fs::create_dir_all(cache(context))?;
        run::status(wasm_opt.arg("--output").arg(&fresh).arg(wasm))?;
        fs::rename(&fresh, &kept)?;
    }
    fs::read(&kept).with_context(|| format!("cannot read {}", kept.display()))
}

fn cache(context: &Context) -> PathBuf {
    context.target.join("web/optimised")
}

/// Keeps only the answers this build used: the ones that equal a module of `out`.
fn prune(context: &Context, out: &Path) -> Result<()> {
    let used = files(out, &[])?
        .iter()
        .filter(|file| file.extension().is_some_and(|ext| ext == "wasm"))
        .map(fs::read)
        .collect::<Result<Vec<_>, _>>()?;
    for kept in files(&cache(context), &[])? {
        if !used.contains(&fs::read(&kept)?) {
            fs::remove_file(kept)?;
        }
    }
    Ok(())
}
