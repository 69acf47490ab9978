// Zoom and pan of all pictures below one element together: buttons and keys, the wheel, a drag.

const STEP = 1.5
const WHEEL_STEP = 1.15
const MOST = 16
const DRAG_PIXELS = 4

export class Zoom {
  // draw() is called when the zoom begins, ends or changes; rolls: whether the wheel zooms without Ctrl.
  constructor(root, draw, rolls) {
    this.root = root
    this.draw = draw
    this.set(1, 0, 0)
    root.addEventListener("pointerdown", (event) => this.grab(event))
    root.addEventListener("pointermove", (event) => this.drag(event))
    for (const name of ["pointerup", "pointercancel"]) root.addEventListener(name, () => (this.held = undefined))
    root.addEventListener("wheel", (event) => this.roll(event, rolls), { passive: false })
  }

  get text() {
    return `${this.zoom.toFixed(this.zoom < 10 ? 1 : 0)}×`
  }

  in() {
    this.by(STEP)
  }

  out() {
    this.by(1 / STEP)
  }

  by(factor) {
    const zoom = Math.min(MOST, Math.max(1, this.zoom * factor))
    this.set(zoom, (this.x * zoom) / this.zoom, (this.y * zoom) / this.zoom)
    this.draw()
  }

  set(zoom, x, y) {
    const limit = 50 * (zoom - 1) // percent of a frame
    const clamp = (value) => Math.min(limit, Math.max(-limit, value))
    Object.assign(this, { zoom, x: clamp(x), y: clamp(y) })
    for (const name of ["zoom", "x", "y"]) this.root.style.setProperty(`--${name}`, this[name])
    this.root.classList.toggle("zoomed", zoom > 1)
  }

  grab(event) {
    this.hasMoved = false
    const frame = event.target.closest(".frame")
    if (frame && this.zoom > 1 && !event.target.matches(".divider")) {
      this.held = { fromX: event.clientX, fromY: event.clientY, x: this.x, y: this.y, width: frame.clientWidth, height: frame.clientHeight }
    }
  }

  drag(event) {
    if (!this.held) return
    const { fromX, fromY, x, y, width, height } = this.held
    this.hasMoved ||= Math.hypot(event.clientX - fromX, event.clientY - fromY) > DRAG_PIXELS
    this.set(this.zoom, x + (100 * (event.clientX - fromX)) / width, y + (100 * (event.clientY - fromY)) / height)
  }

  roll(event, rolls) {
    if (!event.target.closest(".frame") || !(event.ctrlKey || rolls)) return
    event.preventDefault()
    this.by(event.deltaY < 0 ? WHEEL_STEP : 1 / WHEEL_STEP)
  }
}
