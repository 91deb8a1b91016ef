//! The few things the pages ask of the document and the browser around it.

use leptos::prelude::*;
use wasm_bindgen::{JsCast, JsValue};
use wasm_bindgen_futures::JsFuture;

use crate::format;

/// The document title of a page; the library's own when there is no name.
pub(crate) fn set_title(name: Option<&str>) {
    document()
        .set_title(&name.map_or_else(|| "Sluice".to_owned(), |name| format!("{name} · Sluice")));
}

/// Host and port of the relay this page came from.
pub(crate) fn relay_host() -> String {
    window().location().host().unwrap_or_default()
}

/// The address of this page.
pub(crate) fn page_address() -> String {
    window().location().href().unwrap_or_default()
}

/// Loads this page again.
pub(crate) fn reload() {
    // A page that cannot reload itself still has the browser's button.
    let _ = window().location().reload();
}

/// Whether the browser believes that it has a network. `true` promises nothing; `false` is certain.
pub(crate) fn online() -> bool {
    window().navigator().on_line()
}

/// Milliseconds since this page began to load.
pub(crate) fn now_ms() -> u64 {
    window()
        .performance()
        .map_or(0, |clock| format::whole(clock.now()))
}

/// A day as this reader writes it.
pub(crate) fn day(unix_ms: u64) -> String {
    #[expect(
        clippy::cast_precision_loss,
        reason = "milliseconds since 1970 stay below 2^53 for 285,000 years"
    )]
    let date = js_sys::Date::new(&JsValue::from_f64(unix_ms as f64));
    let options = js_sys::Object::new();
    for part in [("day", "numeric"), ("month", "short"), ("year", "numeric")] {
        // Setting a property of a plain object of our own cannot fail.
        let _ = js_sys::Reflect::set(&options, &part.0.into(), &part.1.into());
    }
    let language = window()
        .navigator()
        .language()
        .unwrap_or_else(|| "en".to_owned());
    date.to_locale_date_string(&language, &options).into()
}

/// Puts `text` on the clipboard. `false` if the browser has none here or the person refused.
pub(crate) async fn copy(text: &str) -> bool {
    if !window().is_secure_context() {
        return false;
    }
    JsFuture::from(window().navigator().clipboard().write_text(text))
        .await
        .is_ok()
}

/// Whether this browser has a share sheet.
pub(crate) fn can_share() -> bool {
    has(&window().navigator(), "share")
}

/// Whether `object` has a member of this name, without calling it.
pub(crate) fn has(object: &JsValue, name: &str) -> bool {
    js_sys::Reflect::has(object, &name.into()).unwrap_or(false)
}

/// Puts the focus on an element made for it, as after a change of page.
pub(crate) fn focus(id: &str) {
    if let Some(element) = document()
        .get_element_by_id(id)
        .and_then(|found| found.dyn_into::<web_sys::HtmlElement>().ok())
    {
        // Focus is a courtesy: an element that cannot take it is no failure.
        let _ = element.focus();
    }
}

/// What a JavaScript exception says.
pub(crate) fn message(error: &JsValue) -> String {
    match error.dyn_ref::<js_sys::Error>() {
        Some(error) => error.message().into(),
        None => error
            .as_string()
            .unwrap_or_else(|| "the browser gave no reason".to_owned()),
    }
}
