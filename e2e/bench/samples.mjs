// Numbers: medians, spreads, and the file that keeps every raw sample.

/** Collects samples by name. */
export class Samples {
  #byName = new Map()
  /** Runs that broke off and were made again. */
  failures = []

  add(name, value) {
    if (value === undefined || value === null || Number.isNaN(value)) return
    if (!this.#byName.has(name)) this.#byName.set(name, [])
    this.#byName.get(name).push(value)
  }

  /**
   * Runs `body`, which adds samples when it succeeds; a run that breaks off is recorded under `failures` and made once
   * more, so that one hiccup does not cost a whole benchmark and does not vanish either.
   */
  async attempt(name, body) {
    try {
      return await body()
    } catch (error) {
      this.failures.push(`${name}: ${error.message}`)
      return await body()
    }
  }

  /** Adds every number of `record` under `prefix.`. */
  addAll(prefix, record) {
    for (const [name, value] of Object.entries(record)) if (typeof value === 'number') this.add(`${prefix}.${name}`, value)
  }

  has(name) {
    return this.#byName.has(name)
  }

  count(name) {
    return this.#byName.get(name)?.length ?? 0
  }

  median(...names) {
    return median(names.flatMap((name) => this.#byName.get(name) ?? []))
  }

  /** Smallest and largest. */
  range(...names) {
    const all = names.flatMap((name) => this.#byName.get(name) ?? [])
    return [Math.min(...all), Math.max(...all)]
  }

  toJSON() {
    return { ...Object.fromEntries(this.#byName), failures: this.failures }
  }
}

/** The middle value; the mean of the middle two; NaN of none. */
export function median(values) {
  if (values.length === 0) return NaN
  const sorted = [...values].sort((a, b) => a - b)
  const half = sorted.length >> 1
  return sorted.length % 2 ? sorted[half] : (sorted[half - 1] + sorted[half]) / 2
}
