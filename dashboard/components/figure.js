// Shows data.figure with Plotly.react in one node that lives as long as the page does.
// The step range is kept here, not by Plotly, because a zoom of one figure is a zoom of its whole group;
// everything else a person did (legend, value axes) is kept by Plotly under `uirevision`.
// The default function is called again for new data and for another theme, and its result once, at the end.

const figures = new Map() // node → {figure, group, label, tell}
const views = new Map() // group → {range, resets}

const NARROW = 480 // pixels: titles need the whole width, legends go below them, over the lines

let held = null // the node whose chart a person is dragging on: a redraw would tear the zoom box out of their hand
addEventListener("pointerup", () => {
  const node = held
  held = null
  if (node) setTimeout(() => figures.has(node) && draw(node))
})

// What nobody sees is drawn once, then again when it comes into sight.
const outOfSight = new Set()
const stale = new Set()
const sight = new IntersectionObserver((entries) => {
  for (const { target, isIntersecting } of entries) {
    if (isIntersecting) outOfSight.delete(target)
    else outOfSight.add(target)
  }
  drawStale()
})
addEventListener("visibilitychange", drawStale)

function drawStale() {
  for (const node of [...stale]) figures.has(node) ? draw(node) : stale.delete(node)
}

let loading
function loadPlotly(url) {
  if (window.Plotly) return Promise.resolve(window.Plotly)
  loading ??= new Promise((resolve, reject) => {
    const script = document.createElement("script")
    script.src = url
    script.onload = () => resolve(window.Plotly)
    script.onerror = () => reject(new Error(`${url} could not be loaded`))
    document.head.append(script)
  }).catch((error) => {
    loading = undefined
    throw error
  })
  return loading
}

function viewOf(group) {
  if (!views.has(group)) views.set(group, { range: null, resets: 0 })
  return views.get(group)
}

// "--st-…" is the name of a colour in the page's theme.
function themed(value, style) {
  if (typeof value === "string") return value.startsWith("--st-") ? style.getPropertyValue(value).trim() : value
  if (Array.isArray(value)) return value.map((item) => themed(item, style))
  if (value && typeof value === "object") {
    return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, themed(item, style)]))
  }
  return value
}

// The configuration is given once: a react with another one, and functions never equal, is a new plot.
function draw(node) {
  if (node === held) return
  const isDrawn = node.classList.contains("js-plotly-plot")
  if (isDrawn && (document.hidden || outOfSight.has(node))) return stale.add(node)
  stale.delete(node)
  const { figure, group, fileName } = figures.get(node)
  const view = viewOf(group)
  const { data, layout } = themed(figure, getComputedStyle(node))
  layout.uirevision = `${group} ${view.resets}`
  layout.font.family = getComputedStyle(node).fontFamily
  if (node.clientWidth < NARROW) tighten(layout)
  layout.xaxis.range = [...(view.range ?? layout.xaxis.range ?? [0, 1])]
  if (isDrawn) {
    window.Plotly.react(node, data, layout)
  } else {
    window.Plotly.newPlot(node, data, layout, config(node, fileName))
    listen(node)
  }
}

function tighten(layout) {
  for (const key in layout) if (key.startsWith("legend")) layout[key].yanchor = "top"
  for (const title of layout.annotations) title.xshift = 4 - layout.margin.l
}

function drawGroup(group, except) {
  for (const [node, shown] of figures) if (shown.group === group && node !== except) draw(node)
}

function reset(node) {
  const { group, tell } = figures.get(node)
  viewOf(group).range = null
  viewOf(group).resets += 1
  drawGroup(group)
  tell.window(null)
}

// The ends of the step axis as numbers of the data: milliseconds on a date axis, no logarithms.
function ends(node) {
  const axis = node._fullLayout.xaxis
  return axis.range.map((end) => (axis.type === "log" ? 10 ** end : axis.r2l(end)))
}

function config(node, fileName) {
  return {
    displaylogo: false,
    responsive: true,
    doubleClick: false,
    toImageButtonOptions: { filename: fileName, scale: 2 },
    modeBarButtons: [
      [
        "toImage",
        "zoom2d",
        "pan2d",
        { name: "reset", title: "Reset view", icon: window.Plotly.Icons.home, click: () => reset(node) },
      ],
    ],
  }
}

function listen(node) {
  node.onpointerdown = () => (held = node)
  node.on("plotly_doubleclick", () => reset(node))
  node.on("plotly_relayout", (change) => {
    const range = change["xaxis.range"] ?? [change["xaxis.range[0]"], change["xaxis.range[1]"]]
    if (range[0] === undefined) return
    const { group, tell } = figures.get(node)
    viewOf(group).range = range
    drawGroup(group, node)
    tell.window(ends(node))
  })
  node.on("plotly_click", ({ points }) => {
    const chosen = points.find((point) => point.customdata !== undefined)
    if (chosen) figures.get(node).tell.picked(chosen.customdata)
  })
}

// Arrow keys walk the points, Home and End go to the first and the last, Enter does what a click does.
function walk(node, key) {
  const traces = node._fullData.filter((trace) => trace.visible === true && trace.x?.length)
  const trace = traces.find((one) => one.customdata?.length) ?? traces[0]
  if (!trace) return false
  const last = trace.x.length - 1
  const at = node.pointAt ?? -1
  const moves = { ArrowRight: at + 1, ArrowLeft: at < 0 ? last : at - 1, Home: 0, End: last }
  if (key === "Enter") {
    if (at >= 0 && trace.customdata?.length) figures.get(node).tell.picked(trace.customdata[at])
    return at >= 0
  }
  if (!(key in moves)) return false
  node.pointAt = Math.min(last, Math.max(0, moves[key]))
  window.Plotly.Fx.hover(node, [{ curveNumber: trace.index, pointNumber: node.pointAt }], trace.xaxis + trace.yaxis)
  const value = Array.isArray(trace.text) ? trace.text[node.pointAt] : Number(trace.y[node.pointAt]).toPrecision(4)
  const said = node.parentElement.querySelector(".darkroom-figure-said")
  if (said) said.textContent = `${node._fullLayout.xaxis.title.text} ${trace.customdata?.[node.pointAt] ?? trace.x[node.pointAt]}, ${trace.name}: ${value}`
  return true
}

export default function ({ data, parentElement, setStateValue, setTriggerValue }) {
  const node = parentElement.querySelector(".darkroom-figure")
  const error = parentElement.querySelector(".darkroom-figure-error")
  const tell = {
    window: (range) => setStateValue?.("window", range),
    picked: (step) => setTriggerValue?.("picked", step),
  }
  figures.set(node, { ...data, tell })
  node.setAttribute("aria-label", data.label)
  node.onkeydown = (event) => {
    if (event.target === node && window.Plotly && node._fullData && walk(node, event.key)) event.preventDefault()
  }
  node.style.height = `${data.figure.layout.height}px`
  sight.observe(node)
  loadPlotly(data.plotly)
    .then(() => figures.has(node) && draw(node))
    .catch((reason) => {
      error.textContent = `The chart could not be drawn: ${reason.message}`
      error.hidden = false
    })
  return () => {
    figures.delete(node)
    sight.unobserve(node)
    outOfSight.delete(node)
    stale.delete(node)
    window.Plotly?.purge(node)
  }
}
