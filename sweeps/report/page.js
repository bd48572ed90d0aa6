// Runs in the browser: labels every run by the definition that is chosen, gathers cells, shows the chosen cells' runs.
// The same rules as sweeps/phases.py and sweeps/statistics.py; arguments are those that page.py passes.
const never = 0xffffffff, few = 400
const runs = label.length, count = start.length - 1
const asked = threshold
  ? {at: threshold.options.indexOf(threshold.value), budget: Math.round(budget.value), gap: Math.round(gap.value)}
  : {at: stored.at, budget: stored.budget, gap: stored.gap}
const refused = refusal(asked)
const plain = (text) => { const e = document.createElement("i"); e.textContent = text; return e.innerHTML }
const of_panel = panels > 1 ? ` (${plain(panel)})` : ""
const wanted = stored.shown = refused ? stored.shown || {...stored} : asked  // what is refused changes nothing
const unknown = (r) => stored.stays && until[r] < wanted.budget  // whether it stays there is seen at the budget only
const time = (times, r) => { const t = times[wanted.at * runs + r]; return t == never || unknown(r) ? Infinity : t }

function value_of(level) {
  if (level == missing) return NaN
  return wide ? least * (largest / least) ** (level / levels) : least + (largest - least) * level / levels
}

function refusal(d) {  // as Python does: a gap that would decide the phases by itself
  const longest = every.reduce((a, b) => Math.max(a, b), 0)
  if (!threshold) return ""
  if (d.gap > 0 && d.gap < longest) return `is below one interval between evaluations, ${longest} steps`
  return d.gap > d.budget ? `is above the budget, ${d.budget} steps: nothing could be grokking` : ""
}

function label_of(r) {
  if (!threshold) return label[r]
  const train = time(train_times, r), test = time(test_times, r)
  const has_train = train <= wanted.budget, has_test = test <= wanted.budget
  if (has_train && has_test) return test - train < wanted.gap ? 0 : 1
  if (until[r] < wanted.budget) return diverged[r] ? 5 : 6
  return has_train ? 2 : has_test ? 4 : 3
}

function wilson(k, n) {
  const z = 1.959963984540054, p = k / n, d = 1 + z * z / n
  const middle = (p + z * z / (2 * n)) / d, half = z * Math.sqrt(p * (1 - p) / n + z * z / (4 * n * n)) / d
  return [k == 0 ? 0 : middle - half, k == n ? 1 : middle + half]
}

function median(ended, reached) {  // Kaplan–Meier
  const order = ended.map((_, i) => i).sort((a, b) => ended[a] - ended[b])
  let survival = 1
  for (let i = 0; i < order.length;) {
    const now = ended[order[i]], at_risk = order.length - i
    let deaths = 0
    for (; i < order.length && ended[order[i]] == now; i++) deaths += reached[order[i]]
    survival *= 1 - deaths / at_risk
    if (deaths && survival <= 0.5 + 1e-9) return now
  }
  return Infinity
}

function inner(low, high, share, log) {
  if (log) return inner(Math.log(low), Math.log(high), share, false).map(Math.exp)
  const middle = (low + high) / 2, half = (high - low) / 2 * share
  return [middle - half, middle + half]
}

function relabel() {
  const found = {p: [], p_low: [], p_high: [], agreement: [], median_test_time: [], time: [], hatch: [], colour: [],
                 resolved: [], labels: [], agreement_text: [], p_text: [], median_text: []}
  const squares = {left: [], right: [], bottom: [], top: [], colour: []}
  const totals = names.map(() => 0)
  for (let cell = 0; cell < count; cell++) {
    const counts = names.map(() => 0), ended = [], reached = [], n = start[cell + 1] - start[cell]
    let seen_to = wanted.budget, may = 0, later = 0, sooner = 0
    for (let r = start[cell]; r < start[cell + 1]; r++) {
      label[r] = label_of(r)
      counts[label[r]]++; totals[label[r]]++
      const test = time(test_times, r), has = test <= wanted.budget
      const known = diverged[r] ? wanted.budget : Math.min(Math.max(until[r], 0), wanted.budget)
      ended.push(has ? test : known); reached.push(has)
      may += has || known < wanted.budget
      const delay = test - time(train_times, r)
      later += label[r] == 0 && delay + every[r] > wanted.gap
      sooner += label[r] == 1 && delay - every[r] < wanted.gap
      if (!has) seen_to = Math.min(seen_to, last[r])
    }
    const most_of = (c) => c.indexOf(Math.max(...c))
    const turned = (runs) => most_of(counts.map((c, i) => i == 0 ? c - runs : i == 1 ? c + runs : c))
    const best = most_of(counts), rest = counts.map((c, i) => i == best ? -1 : c)
    const second = most_of(rest), hits = event.reduce((sum, i) => sum + counts[i], 0)
    const decided = n - undecided.reduce((sum, i) => sum + counts[i], 0)
    const [low, high] = decided ? wilson(hits, decided) : [NaN, NaN], middle = n ? median(ended, reached) : NaN
    found.p.push(decided ? hits / decided : NaN); found.p_low.push(low); found.p_high.push(high)
    found.agreement.push(n ? counts[best] / n : NaN)
    found.median_test_time.push(middle)
    found.time.push(isFinite(middle) ? Math.max(middle, mapper.low) : NaN)
    found.hatch.push(middle == Infinity ? (2 * may >= n ? "dot" : "right_diagonal_line") : "blank")
    found.resolved.push(resolved[+(turned(later) == best && turned(-sooner) == best)])
    found.colour.push(n ? colours[best] : "#ffffff")
    found.labels.push(names.map((name, i) => [counts[i], `${name} ${counts[i]}`]).filter((c) => c[0]).map((c) => c[1])
      .join(", ") || "no runs")
    found.agreement_text.push(n ? `${Math.round(100 * counts[best] / n)}%` : "–")
    const least = (hits / n).toFixed(2), most = ((hits + n - decided) / n).toFixed(2)
    const either = decided < n ? `; ${least} to ${most} as undecided runs fail or succeed` : ""
    const share = decided ? `${(hits / decided).toFixed(2)} [${low.toFixed(2)}, ${high.toFixed(2)}]` : "–"
    found.p_text.push(share + either)
    found.median_text.push(!n ? "–" : middle == Infinity ? `not reached by step ${seen_to}` : `${middle}`)
    if (n && rest[second] > 0) {
      const share = Math.sqrt(rest[second] / n), data = cells.data
      const [left, right] = inner(data.left[cell], data.right[cell], share, logs[0])
      const [bottom, top] = inner(data.bottom[cell], data.top[cell], share, logs[1])
      squares.left.push(left); squares.right.push(right); squares.bottom.push(bottom); squares.top.push(top)
      squares.colour.push(colours[second])
    }
  }
  cells.data = {...cells.data, ...found}
  squares_source.data = squares
  line.location = thresholds[wanted.at]
  const same = wanted.at == stored.at && wanted.budget == stored.budget && wanted.gap == stored.gap
  for (const drawn of boundary) drawn.visible = same
  const list = names.map((name, i) => totals[i] ? `${name} ${totals[i]}` : "").filter(Boolean).join(", ")
  said.text = (index ? said.text : "") + (same ? "" : `${index ? "<br>" : ""}Now shown${of_panel}: ${compared} ${thresholds[wanted.at]}, budget ${wanted.budget} steps, gap ` +
    `${wanted.gap} steps: ${list}. The key above, and the fitted line, are of the stored definition.`)
}

function show() {
  const chosen = cells.selected.indices
  if (chosen.length == 0) return
  for (const other of others) if (other.selected.indices.length) other.selected.indices = []
  const shown = {steps: [], train: [], test: [], ink: [], run_id: [], seed: [], label: []}
  const ends = {step: [], test: [], ink: []}, drawn = []
  const where = cells.data.heading
  const copy = "navigator.clipboard ? navigator.clipboard.writeText(this.title) : prompt('', this.title)"
  const head = ["run", ...(chosen.length > 1 ? ["cell"] : []), "seed", "status", "label", "train at", "test at", "replay"]
  let rows = "", listed = 0, all = 0
  for (const cell of chosen) {
    for (let r = start[cell]; r < start[cell + 1]; r++) {
      if (++all > few) continue
      const xs = [], train_ys = [], test_ys = []
      for (let k = 0; k < points; k++) {
        const step = steps[grid[r] * points + k], at = r * points + k
        if (step == 0 || step == xs[xs.length - 1]) continue  // 0 has no place on a log axis
        const value = value_of(test[at])
        xs.push(step)
        train_ys.push(value_of(train[at]))
        test_ys.push(value)
      }
      drawn.push(new Map(xs.map((x, k) => [x, test_ys[k]]).filter((e) => !isNaN(e[1]))))
      const ink = inks[label[r]]
      shown.steps.push(xs); shown.train.push(train_ys); shown.test.push(test_ys)
      shown.ink.push(ink); shown.run_id.push(run_id[r])
      shown.seed.push(seed[r]); shown.label.push(names[label[r]])
      if (time(test_times, r) == Infinity && xs.length) {
        ends.step.push(xs[xs.length - 1]); ends.test.push(test_ys[test_ys.length - 1]); ends.ink.push(ink)
      }
      listed++
      const say = (t) => isFinite(t) ? t : `not reached by step ${last[r]}`
      const command = replay + run_id[r]
      const entries = [`<code>${run_id[r]}</code>`]
      if (chosen.length > 1) entries.push(`${cells.data.x[cell]}, ${cells.data.y[cell]}`)
      entries.push(seed[r], statuses[status[r]], escaped[label[r]])
      entries.push(say(time(train_times, r)), say(time(test_times, r)))
      entries.push(`<button title="${command}" onclick="${copy}">copy</button>`)
      rows += "<tr>" + entries.map((e, i) => `<td data-name="${head[i]}">${e}</td>`).join("") + "</tr>"
    }
  }
  const lines = {steps: [], values: [], ink: [], name: []}
  theory_values.forEach((values, i) => {
    const all = values.length == theory_steps.length  // one curve, of every cell
    for (const cell of all ? chosen.slice(0, 1) : chosen) {
      const from = all ? 0 : cell * theory_steps.length
      lines.steps.push(theory_steps); lines.values.push(values.slice(from, from + theory_steps.length))
      lines.ink.push(theory_inks[i]); lines.name.push(theory_names[i])
    }
  })
  theory.data = lines
  curves.data = shown
  marks.data = ends
  const stops = drawn.map((line) => [...line].pop() ?? [Infinity, NaN])  // a run that has ended keeps its last value
  const at = [...new Set(shown.steps.flat())].sort((a, b) => a - b)
  const of_all = (step) => drawn.map((line, i) => step > stops[i][0] ? stops[i][1] : line.get(step) ?? NaN).filter((v) => !isNaN(v))
  const enough = at.map((step) => [step, of_all(step)]).filter(([_, values]) => values.length * 2 > listed)
  const half = (values) => { const v = values.sort((a, b) => a - b), m = v.length >> 1; return v.length % 2 ? v[m] : (v[m - 1] + v[m]) / 2 }
  middle.data = {step: enough.map((e) => e[0]), test: enough.map((e) => half(e[1]))}
  const list = rows ? `<div class="list"><table><tr>${head.map((h) => `<th>${h}</th>`).join("")}</tr>${rows}</table></div>` : "<p>No runs.</p>"
  const title = chosen.length == 1 ? where[chosen[0]] : `${chosen.length} cells`
  const cut = all > few ? `<p>The first ${few} of ${all} runs are shown.</p>` : ""
  table.text = `<h2>${panels > 1 ? plain(panel) + ": " : ""}${title}</h2>${cut}` + list
}

function download() {
  const number = /^[-+]?(\d+\.?\d*|\.\d+)(e[-+]?\d+)?$/i
  const shown = (t) => /^[=+\-@\t\r]/.test(t) && !number.test(t) ? `'${t}` : t  // a spreadsheet would run it
  const quote = (v) => { const t = v === Infinity ? "inf" : shown(`${v}`); return /[",\n\r]/.test(t) ? `"${t.replaceAll('"', '""')}"` : t }
  const text = (html) => { const e = document.createElement("textarea"); e.innerHTML = html; return e.value }
  const own = panels > 1 ? [panel] : []
  const lines = index ? table.tags[0] : [[...(panels > 1 ? ["panel"] : []), ...axes, "run_id", "seed", "split_seed", "status", "steps", "label", "train_time", "test_time", "threshold",
                  "budget", "gap"]]
  for (let cell = 0; cell < count; cell++)
    for (let r = start[cell]; r < start[cell + 1]; r++)
      lines.push([...own, cells.data.x_value[cell], cells.data.y_value[cell], text(run_id[r]), ...seeds[r],
                  text(statuses[status[r]]), last[r], names[label[r]], time(train_times, r), time(test_times, r), thresholds[wanted.at], wanted.budget,
                  wanted.gap])
  table.tags = [lines]  // of the panels so far: the last one writes them
  if (index < panels - 1) return
  const link = document.createElement("a")
  link.href = URL.createObjectURL(new Blob([lines.map((l) => l.map(quote).join(",")).join("\n") + "\n"], {type: "text/csv"}))
  link.download = "runs.csv"
  link.click()
}

const from = cb_obj.origin || cb_obj
if (from.name == "download") download()
else if (from.name == "reset") {
  threshold.value = threshold.options[stored.at]
  budget.value = stored.budget
  gap.value = stored.gap
} else {
  if (refused) said.text = `A gap of ${asked.gap} steps ${refused}. Shown is what was chosen before.`
  else if (["threshold", "budget", "gap"].includes(from.name)) relabel()
  show()
}
