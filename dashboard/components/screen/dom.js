// Elements are made once, reused by position, and touched only where something differs.
// Text only ever goes through textContent: what a file says is never read as HTML.

const SOON_MILLISECONDS = 500 // until Streamlit has drawn the page; it loses a value that comes before

export function make(tag, className = "", ...children) {
  const made = document.createElement(tag)
  if (className) made.className = className
  made.append(...children)
  return made
}

export function button(className, act) {
  const made = make("button", className)
  made.type = "button"
  if (act) made.onclick = act
  return made
}

export function fit(parent, count, makeChild) {
  while (parent.children.length > count) parent.lastElementChild.remove()
  while (parent.children.length < count) parent.append(makeChild())
  return [...parent.children]
}

// What is false is absent, but a state that assistive technology reads is spelled: aria-checked="false".
export function set(node, name, value) {
  const isAbsent = value === undefined || value === null || (value === false && !name.startsWith("aria-"))
  if (isAbsent) node.removeAttribute(name)
  else if (node.getAttribute(name) !== String(value)) node.setAttribute(name, value)
}

export function write(node, text) {
  if (node.textContent !== (text ?? "")) node.textContent = text ?? ""
}

// What stands between backticks is code. words: with them, a button copies each command.
export function writeWithCode(node, text, words) {
  if (node.dataset.text === (text ?? "")) return
  node.dataset.text = text ?? ""
  const parts = node.dataset.text.split("`")
  node.replaceChildren(...parts.flatMap((part, index) => {
    if (index % 2 === 0) return [part]
    const code = make("code", "", part)
    return words && part.startsWith("python ") ? [code, " ", copyButton(code, words)] : [code]
  }))
}

function copyButton(code, words) {
  const made = button("link copy", () => copyText(code.textContent).then((done) => write(made, done ? words.copied : words.copy)))
  write(made, words.copy)
  return made
}

// Whether it could be copied: without https there is no clipboard.
export async function copyText(text) {
  try {
    await navigator.clipboard.writeText(text)
    return true
  } catch {
    return false
  }
}

export function show(node, isShown) {
  if (node.hidden === Boolean(isShown)) node.hidden = !isShown
}

// A picture whose file cannot be shown is absent, as if there were none.
export function showImage(image, url) {
  if (image.getAttribute("src") === (url || null)) return
  image.onerror = () => show(image, false)
  show(image, url)
  set(image, "src", url || null)
}

export function mark(node, className, isMarked) {
  if (node.classList.contains(className) !== Boolean(isMarked)) node.classList.toggle(className, Boolean(isMarked))
}

// A link that other programs of the browser can use, and that a plain click follows without loading the page anew.
export function onPlainClick(link, follow) {
  link.onclick = (event) => {
    if (event.button || event.ctrlKey || event.metaKey || event.shiftKey || event.altKey || isEarly(link)) return
    event.preventDefault()
    follow()
  }
}

// Python draws a hidden link for each page; see shell.py.
export function openPage(name) {
  document.querySelector(`.st-key-page_${name} a`)?.click()
}

// Whether it stands where Streamlit is not yet; see early.js.
export const isEarly = (node) => Boolean(node.closest("#darkroom-early"))

// Whether what is opened here stays open: a browser without moveBefore closes a dialog that moves to Streamlit's place.
export const canMoveOpen = (node) => !isEarly(node) || Boolean(node.moveBefore)

const mounted = new WeakMap() // root element → what draws in it

// Draws a component in its root, by one `Kind` however often Streamlit calls; returns what takes it away again.
export function mount(component, className, Kind) {
  const { data, setTriggerValue } = component
  const root = rootOf(component, className)
  if (!mounted.has(root)) mounted.set(root, new Kind(root))
  const shown = mounted.get(root)
  shown.update(data, (what) => setTriggerValue("asked", what))
  return () => {
    shown.leave()
    mounted.delete(root)
    root.replaceChildren()
  }
}

// The root of a component. What was drawn before Streamlit was there comes into its place, as it is, with what a person has
// asked for meanwhile.
export function rootOf({ parentElement, setTriggerValue }, className) {
  const empty = parentElement.querySelector(`.${className}`)
  const early = document.querySelector(`#darkroom-early .${className}`)
  if (!early || early === empty) return empty
  const part = early.parentElement
  const place = empty.parentElement
  const { scrollTop } = part.parentElement
  for (const node of [...part.childNodes]) (place.moveBefore ?? place.insertBefore).call(place, node, empty) // the first keeps the focus
  empty.remove()
  part.remove()
  if (scrollTop) document.querySelector("[data-testid=stMain]")?.scrollTo({ top: scrollTop, behavior: "instant" })
  const asked = [...part.asked.values()]
  if (asked.length) setTimeout(() => setTriggerValue("asked", { do: "each", asked }), SOON_MILLISECONDS)
  return early
}

// A panel that opens under its button: Escape, a click elsewhere and a second click close it.
export function attach(opener, panel) {
  panel.popover = "auto"
  opener.popoverTargetElement = panel
  panel.addEventListener("beforetoggle", ({ newState }) => {
    if (newState !== "open") return
    const box = opener.getBoundingClientRect()
    const isLeft = box.left < innerWidth / 2
    panel.style.left = isLeft ? `${Math.max(8, box.left)}px` : "auto"
    panel.style.right = isLeft ? "auto" : `${Math.max(8, document.documentElement.clientWidth - box.right)}px`
    const isLow = box.top > innerHeight / 2
    panel.style.top = isLow ? "auto" : `${box.bottom + 6}px`
    panel.style.bottom = isLow ? `${innerHeight - box.top + 6}px` : "auto"
  })
  return panel
}

// What scrolls and holds nothing to focus is itself reached with the keyboard, as long as it scrolls.
export function scrollByKeyboard(node) {
  const isTooSmall = () => node.scrollHeight > node.clientHeight + 1 || node.scrollWidth > node.clientWidth + 1
  const look = () => set(node, "tabindex", isTooSmall() ? 0 : null)
  const observer = new ResizeObserver(look)
  for (const one of [node, ...node.children]) observer.observe(one)
  return node
}

// A server that was started anew knows no part of this page: what is pressed there is lost until the whole page has been
// drawn again. Calls `redraw` once the page is connected again; until it is drawn, style.css holds Streamlit's buttons back.
// Returns what ends it.
export function onReconnect(redraw) {
  let observer
  const search = setInterval(() => {
    const app = document.querySelector("[data-test-connection-state=CONNECTED]")
    if (!app) return
    clearInterval(search)
    const follow = new Reconnection(redraw)
    observer = new MutationObserver(() => follow.look(app.dataset))
    observer.observe(app, { attributes: true, attributeFilter: ["data-test-connection-state", "data-test-script-state"] })
  }, 200)
  return () => {
    clearInterval(search)
    observer?.disconnect()
  }
}

class Reconnection {
  constructor(redraw) {
    this.redraw = redraw
    this.stage = "drawn" // → lost → asked → running → drawn
  }

  look({ testConnectionState, testScriptState }) {
    const isRunning = testScriptState !== "notRunning"
    if (testConnectionState !== "CONNECTED") this.stage = "lost"
    else if (this.stage === "lost") {
      this.stage = "asked"
      this.redraw()
    } else if (this.stage === "asked" && isRunning) this.stage = "running"
    else if (this.stage === "running" && !isRunning) this.stage = "drawn"
    document.documentElement.toggleAttribute("data-darkroom-lost", this.stage !== "drawn")
  }
}
