//! Starts the pages in the document that loaded this module. Everything else is in the library beside it.

fn main() {
    #[cfg(target_arch = "wasm32")]
    sluice_app::ui::mount();
}
