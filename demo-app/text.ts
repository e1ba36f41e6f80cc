/** Whether Postgres can store a text. It refuses U+0000, and half of a surrogate pair would reach it as U+FFFD. */
export function isStorable (text: string): boolean {
  return !text.includes('\0') && text.isWellFormed()
}

/** The keyword `'x-storable': true` in a schema, for text that the app stores in the database. */
export const storableKeyword = {
  keyword: 'x-storable',
  type: 'string',
  schemaType: 'boolean',
  validate: (wanted: boolean, text: string) => !wanted || isStorable(text),
  error: { message: 'must be text without U+0000 and without half of a surrogate pair: the database cannot keep these' }
} as const
