// Sees real frames: runs inside the page, before its own scripts, and works on any page with a <video>.
//
// A frame counts when the compositor is given it (requestVideoFrameCallback), not when an event says "playing".
// Times are milliseconds since the start of the page's navigation.

/** Installed by `addInitScript`; must not refer to anything outside itself. */
export function watchFrames() {
  if (window.top !== window) return
  const state = { first: null, count: 0, mediaTime: -1, video: null, waiters: [] }
  window.__frames = {
    state,
    /** Resolves with {at, mediaTime} at the first frame of the page's first video. */
    first: () => until(() => state.first),
    /** Resolves once a frame from at or after `mediaTime` seconds, shown after this call, is on screen. */
    beyond: (mediaTime) => {
      const since = state.count
      return until(() => (state.count > since && state.mediaTime >= mediaTime ? { at: state.at, mediaTime: state.mediaTime } : null))
    },
    /** Seeks and resolves with the milliseconds until a frame from there was on screen. */
    seek: (seconds) => {
      const from = performance.now()
      const since = state.count
      state.video.currentTime = seconds
      return until(() =>
        state.count > since && Math.abs(state.mediaTime - seconds) < 1 ? { took: state.at - from, mediaTime: state.mediaTime } : null,
      )
    },
    /** Whether the player holds this place already. */
    buffered: (seconds) => {
      const ranges = state.video.buffered
      for (let i = 0; i < ranges.length; i += 1) if (ranges.start(i) <= seconds && seconds < ranges.end(i)) return true
      return false
    },
  }
  function until(get) {
    return new Promise((resolve) => {
      state.waiters.push(() => {
        const got = get()
        if (got) resolve(got)
        return Boolean(got)
      })
      settle()
    })
  }
  function settle() {
    state.waiters = state.waiters.filter((done) => !done())
  }
  function onFrame(video, now, metadata) {
    if (state.video !== video) return
    state.count += 1
    state.at = now
    state.mediaTime = metadata.mediaTime
    state.first ??= { at: now, mediaTime: metadata.mediaTime }
    settle()
    video.requestVideoFrameCallback((later, more) => onFrame(video, later, more))
  }
  function adopt(video) {
    state.video = video
    // Benchmarks press play for everybody at once: when the element appears.
    if (window.__playAtOnce) {
      video.muted = true
      video.play().catch(() => {})
    }
    video.requestVideoFrameCallback((now, metadata) => onFrame(video, now, metadata))
  }
  new MutationObserver(() => {
    const video = document.querySelector('video')
    if (video && video !== state.video) adopt(video)
  }).observe(document, { childList: true, subtree: true })
}
