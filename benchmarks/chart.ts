export interface Bar {
  label: string
  value: number
  isPlugin: boolean
  /** Answers without a round trip are drawn in another shade. */
  isCached: boolean
}

const ROW = 28
const BAR = 18
const TOP = 52
const WIDTH = 760
/** Where the bars begin. */
const LEFT = 250
/** The space for the figure behind the longest bar. */
const RIGHT = 60

/*
 * A page may be dark although the reader's system is light, and the other way round: GitHub has a setting of its own.
 * So each colour can be read on both, and the style for dark systems only raises the contrast. Nothing is drawn behind
 * the chart.
 */
const STYLE = `text { fill: #656d76; font: 14px system-ui, -apple-system, 'Segoe UI', sans-serif }
    .title { font-size: 15px; font-weight: 600 }
    .note { font-size: 12px }
    .value { font-variant-numeric: tabular-nums; font-weight: 600 }
    .other { fill: #818b98; stroke: #818b98 }
    .plugin { fill: #0969da; stroke: #0969da }
    .cached { fill-opacity: 0.25 }
    .axis { stroke: #818b98; stroke-opacity: 0.5 }
    @media (prefers-color-scheme: dark) {
      text { fill: #8d96a0 }
      .other { fill: #8b949e; stroke: #8b949e }
      .plugin { fill: #388bfd; stroke: #388bfd }
    }`

/** A bar chart as SVG. */
export function barChart (title: string, unit: string, bars: Bar[]): string {
  const most = longest(bars.map(({ value }) => value))
  const scale = (WIDTH - LEFT - RIGHT) / most
  const rows = bars.map(({ label, value, isPlugin, isCached }, i) => {
    const kind = `${isPlugin ? 'plugin' : 'other'}${isCached ? ' cached' : ''}`
    const y = TOP + i * ROW
    const length = Math.max(1, Math.min(value, most) * scale)
    const baseline = y + 14
    const parts = value > most ? [[0, length - 26], [length - 18, 18]] : [[0, length]]
    const rects = parts.map(([from = 0, width = 0]) =>
      `<rect class="${kind}" x="${(LEFT + from).toFixed(1)}" y="${y}" width="${width.toFixed(1)}" ` +
        `height="${BAR}" rx="2"/>`)
    return `  <text x="${LEFT - 10}" y="${baseline}" text-anchor="end">${escape(label)}</text>
  ${rects.join('')}
  <text class="value" x="${(LEFT + length + 7).toFixed(1)}" y="${baseline}">${value.toFixed(1)}</text>`
  })
  const bottom = TOP + bars.length * ROW
  const isCut = bars.some(({ value }) => value > most)
  const note = isCut ? `\n  <text class="note" x="${LEFT}" y="${bottom + 16}">The bar with a gap is cut.</text>` : ''
  const figures = bars.map(({ label, value }) => `${label} ${value.toFixed(1)}`).join(', ')
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${bottom + (isCut ? 26 : 6)}" role="img" ` +
    `aria-labelledby="title figures">
  <title id="title">${escape(title)}, in ${escape(unit)}</title>
  <desc id="figures">${escape(figures)}</desc>
  <style>
    ${STYLE}
  </style>
  <text class="title" x="10" y="26">${escape(title)}, in ${escape(unit)}</text>
  <line class="axis" x1="${LEFT - 0.5}" y1="${TOP - 8}" x2="${LEFT - 0.5}" y2="${bottom}"/>
${rows.join('\n')}${note}
</svg>
`
}

/** The value of the longest bar. A bar that is more than twice as long as all others is cut, so that these are seen. */
function longest (values: number[]): number {
  const [first = 1, second = first] = [...values].sort((a, b) => b - a)
  return first > 2 * second ? 1.3 * second : first
}

function escape (text: string): string {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('"', '&quot;')
}
