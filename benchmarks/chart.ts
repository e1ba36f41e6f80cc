export interface Bar {
  label: string
  value: number
  /** The bar of this plugin, in another colour. */
  highlighted: boolean
}

const ROW = 26
const LEFT = 210
const WIDTH = 720

/** A bar chart as SVG that reads on a light and on a dark page. */
export function barChart (title: string, unit: string, bars: Bar[]): string {
  const most = Math.max(...bars.map(({ value }) => value))
  const scale = (WIDTH - LEFT - 90) / most
  const rows = bars.map(({ label, value, highlighted }, i) => {
    const y = 44 + i * ROW
    const width = Math.max(1, value * scale).toFixed(1)
    return `  <text x="${LEFT - 8}" y="${y + 14}" text-anchor="end">${escape(label)}</text>
  <rect x="${LEFT}" y="${y}" width="${width}" height="${ROW - 7}" rx="2" fill="${highlighted ? '#1f77b4' : '#9aa5b1'}"/>
  <text x="${(LEFT + value * scale + 6).toFixed(1)}" y="${y + 14}">${value.toFixed(1)}</text>`
  })
  const height = 54 + bars.length * ROW
  const shown = `viewBox="0 0 ${WIDTH} ${height}" role="img" aria-label="${escape(title)}"`
  const font = 'font-family="system-ui, sans-serif" font-size="13" fill="#57606a"'
  return `<svg xmlns="http://www.w3.org/2000/svg" ${shown} ${font}>
  <text x="8" y="22" font-size="15" font-weight="600">${escape(title)} (${escape(unit)})</text>
${rows.join('\n')}
</svg>
`
}

function escape (text: string): string {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('"', '&quot;')
}
