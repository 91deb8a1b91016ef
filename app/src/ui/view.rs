//! Elements that keep themselves current: Leptos' signals and effects, applied straight to the DOM.
//!
//! Why not `view!`? It makes a type, and so a copy of its rendering code, of every element and closure. Measured on
//! these pages that was 230 KiB of the shell after brotli, more than the whole budget before the first frame; this
//! file makes every element through the same few functions.
//!
//! # Invariants
//!
//! - Text is always a text node and a value always an attribute or property: nothing is parsed as markup.
//! - What is made inside an effect (listeners, timers, further effects) ends when that effect runs again or its
//!   page goes away.

use std::{
    cell::{Cell, RefCell},
    rc::Rc,
    time::Duration,
};

use leptos::prelude::{Effect, RenderEffect, document, on_cleanup, window};
use send_wrapper::SendWrapper;
use wasm_bindgen::{JsCast, JsValue, closure::Closure};
use web_sys::{Element, Event, EventTarget};

/// An element being made. Every method returns it again.
#[derive(Clone)]
pub(crate) struct El(Element);

/// A new HTML element.
pub(crate) fn el(tag: &str) -> El {
    El(document()
        .create_element(tag)
        .expect("tags are literals of this program"))
}

/// A new SVG element.
pub(crate) fn svg(tag: &str) -> El {
    let namespace = Some("http://www.w3.org/2000/svg");
    El(document()
        .create_element_ns(namespace, tag)
        .expect("tags are literals of this program"))
}

/// A new element with a class and a text: what most elements are.
pub(crate) fn text(tag: &str, class: &str, text: &str) -> El {
    el(tag).class(class).text(text)
}

/// A push button.
pub(crate) fn button(class: &str, label: &str, pressed: impl FnMut(Event) + 'static) -> El {
    el("button")
        .attr("type", "button")
        .class(class)
        .text(label)
        .on("click", pressed)
}

/// A link.
pub(crate) fn link(class: &str, to: &str, label: &str) -> El {
    el("a").class(class).attr("href", to).text(label)
}

impl El {
    /// The element itself.
    pub(crate) fn element(&self) -> &Element {
        &self.0
    }

    /// Sets its classes; none for an empty text.
    pub(crate) fn class(self, classes: &str) -> Self {
        if classes.is_empty() {
            self
        } else {
            self.attr("class", classes)
        }
    }

    /// Sets an attribute.
    pub(crate) fn attr(self, name: &str, value: &str) -> Self {
        set(&self.0, name, Some(value));
        self
    }

    /// Adds a text.
    pub(crate) fn text(self, text: &str) -> Self {
        append(&self.0, &document().create_text_node(text));
        self
    }

    /// Adds a child.
    pub(crate) fn child(self, child: Self) -> Self {
        append(&self.0, &child.0);
        self
    }

    /// Adds a child if there is one.
    pub(crate) fn maybe(self, child: Option<Self>) -> Self {
        match child {
            Some(child) => self.child(child),
            None => self,
        }
    }

    /// Adds children.
    pub(crate) fn children(self, children: impl IntoIterator<Item = Self>) -> Self {
        children.into_iter().fold(self, Self::child)
    }

    /// Adds a text that follows the signals it reads. Touched only when it changes: some of them are read aloud.
    pub(crate) fn live_text(self, read: impl Fn() -> String + 'static) -> Self {
        let node = document().create_text_node("");
        append(&self.0, &node);
        follow(Box::new(read), Box::new(move |text| node.set_data(text)));
        self
    }

    /// Sets an attribute that follows the signals it reads.
    pub(crate) fn live_attr(self, name: &'static str, read: impl Fn() -> String + 'static) -> Self {
        let element = self.0.clone();
        follow(
            Box::new(read),
            Box::new(move |value| set(&element, name, Some(value))),
        );
        self
    }

    /// Sets or removes an attribute without a value.
    pub(crate) fn live_flag(self, name: &'static str, read: impl Fn() -> bool + 'static) -> Self {
        let element = self.0.clone();
        render(Box::new(move || set(&element, name, read().then_some(""))));
        self
    }

    /// Sets a property that follows the signals it reads.
    pub(crate) fn live_prop(
        self,
        name: &'static str,
        read: impl Fn() -> JsValue + 'static,
    ) -> Self {
        let element = self.0.clone();
        render(Box::new(move || set_prop(&element, name, &read())));
        self
    }

    /// Adds a place whose element is made anew whenever a signal it reads changes.
    pub(crate) fn dynamic(self, make: impl Fn() -> Option<Self> + 'static) -> Self {
        place(&self.0, Box::new(make));
        self
    }

    /// Listens for as long as its page is shown.
    pub(crate) fn on(self, event: &'static str, heard: impl FnMut(Event) + 'static) -> Self {
        listen(&self.0, event, heard);
        self
    }
}

/// Listens on anything for as long as the page that asks is shown.
pub(crate) fn listen(
    target: &EventTarget,
    event: &'static str,
    heard: impl FnMut(Event) + 'static,
) {
    bind(target, event, Box::new(heard));
}

/// Runs now, and again whenever a signal it reads changes.
pub(crate) fn effect(run: impl FnMut() + 'static) {
    schedule(Box::new(run));
}

/// Calls again and again, until the page that asks goes away.
pub(crate) fn every(period: Duration, run: impl FnMut() + 'static) {
    timer(period, true, Box::new(run));
}

/// Calls once, unless the page that asks goes away before.
pub(crate) fn after(delay: Duration, run: impl FnMut() + 'static) {
    timer(delay, false, Box::new(run));
}

// Below, one copy each, whatever is made above.

fn append(parent: &Element, child: &web_sys::Node) {
    parent
        .append_child(child)
        .expect("a new node has no place yet and fits any element");
}

fn set(element: &Element, name: &str, value: Option<&str>) {
    let done = match value {
        Some(value) => element.set_attribute(name, value),
        None => element.remove_attribute(name),
    };
    done.expect("attribute names are literals of this program");
}

fn set_prop(element: &Element, name: &str, value: &JsValue) {
    // `false` only for objects that are frozen, which elements are not.
    let _ = js_sys::Reflect::set(element, &name.into(), value);
}

fn schedule(mut run: Box<dyn FnMut()>) {
    Effect::new(move |_: Option<()>| run());
}

/// Unlike an [`Effect`], runs at once: what is on the page is there before it is painted.
fn render(run: Box<dyn Fn()>) {
    let effect = SendWrapper::new(RenderEffect::new(move |_: Option<()>| run()));
    on_cleanup(move || drop(effect));
}

fn follow(read: Box<dyn Fn() -> String>, write: Box<dyn Fn(&str)>) {
    let written = RefCell::new(None::<String>);
    render(Box::new(move || {
        let now = read();
        if written.borrow().as_ref() != Some(&now) {
            write(&now);
            written.replace(Some(now));
        }
    }));
}

fn place(parent: &Element, make: Box<dyn Fn() -> Option<El>>) {
    let anchor = document().create_comment("");
    append(parent, &anchor);
    let shown = Cell::new(None::<El>);
    render(Box::new(move || {
        let made = make();
        if let Some(before) = shown.take() {
            before.0.remove();
        }
        if let (Some(made), Some(parent)) = (&made, anchor.parent_node()) {
            parent
                .insert_before(&made.0, Some(&anchor))
                .expect("the anchor is a child of its own parent");
        }
        shown.set(made);
    }));
}

fn bind(target: &EventTarget, event: &'static str, heard: Box<dyn FnMut(Event)>) {
    let listener = Closure::<dyn FnMut(Event)>::wrap(heard);
    // Both calls fail only for a listener that is no function.
    let _ = target.add_event_listener_with_callback(event, listener.as_ref().unchecked_ref());
    let held = SendWrapper::new((target.clone(), listener));
    on_cleanup(move || {
        let (target, listener) = held.take();
        let _ =
            target.remove_event_listener_with_callback(event, listener.as_ref().unchecked_ref());
    });
}

fn timer(period: Duration, again: bool, run: Box<dyn FnMut()>) {
    let ms = i32::try_from(period.as_millis()).unwrap_or(i32::MAX);
    let called = Closure::<dyn FnMut()>::wrap(run);
    let function = called.as_ref().unchecked_ref();
    let started = if again {
        window().set_interval_with_callback_and_timeout_and_arguments_0(function, ms)
    } else {
        window().set_timeout_with_callback_and_timeout_and_arguments_0(function, ms)
    };
    let held = SendWrapper::new((started, Rc::new(called)));
    on_cleanup(move || {
        let (started, _called) = held.take();
        if let Ok(handle) = started {
            // One pool of numbers: this clears timeouts too.
            window().clear_interval_with_handle(handle);
        }
    });
}
