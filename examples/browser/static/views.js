// The pages.  Each gets its parameters and an AbortSignal that ends it, and returns what to show.
import { address, age, ask, button, bytes, el, number, svg } from "./dom.js";
import { fillList, list, remember, row } from "./events.js";

const PAGE = 50;
const LIVE_MS = 1000;
const REFRESH_MS = 2000;
const LIVE_ROWS = 500;

// Again and again until the page is left; a fault is told, and does not end it.
function repeat(milliseconds, signal, tell, action) {
	const step = async () => {
		if (signal.aborted) {
			return;
		}
		try {
			if (!document.hidden) {
				await action();
				tell("");
			}
		} catch (error) {
			tell(error.message);
		}
		setTimeout(step, milliseconds);
	};
	setTimeout(step, milliseconds);
}

function pager(...links) {
	return el("nav", { class: "pager", "aria-label": "More events" }, ...links);
}

function link(text, rel, target) {
	return el("a", { rel, href: target }, text);
}

// ---- the log ----

const FILTERS = [["categories", "Category", "any, or order"], ["types", "Type", "any, or Placed, Paid"], ["tags", "Tags", "none, or customer:ada"]];

function filterForm(parameters) {
	const form = el("form", { class: "filter", role: "search", "aria-label": "Filter" });

	for (const [name, label, example] of FILTERS) {
		const options = el("datalist", { id: `list-${name}` });
		const input = el("input", { name, list: `list-${name}`, placeholder: example, autocomplete: "off", spellcheck: "false",
			value: parameters.getAll(name).join(", ") });

		input.addEventListener("focus", () => name !== "tags" && fillList(options, name));
		form.append(el("label", {}, label, " ", input, options));
	}
	form.append(el("button", {}, "Filter"));
	if (FILTERS.some(([name]) => parameters.has(name))) {
		form.append(el("a", { class: "clear", href: address("log", { store: parameters.get("store") }) }, "Clear"));
	}
	form.addEventListener("submit", (submit) => {
		const given = { store: parameters.get("store") };

		submit.preventDefault();
		for (const [name] of FILTERS) {
			given[name] = form.elements[name].value.split(",").map((word) => word.trim()).filter(Boolean);
		}
		location.hash = address("log", given);
	});
	return form;
}

export async function log(parameters, signal, tell) {
	const store = parameters.get("store");
	const filter = Object.fromEntries(FILTERS.map(([name]) => [name, parameters.getAll(name)]));
	const forward = parameters.has("after");
	const answer = await ask("log", { store, count: PAGE, ...filter, after: parameters.get("after"), before: parameters.get("before") });
	const events = forward ? answer.events.reverse() : answer.events;

	remember(events);
	const shown = list(store, events, "Events, the latest first");
	const live = button("Live", () => follow(), { class: "live", "aria-pressed": "false", "aria-keyshortcuts": "l" });
	const atEnd = !parameters.has("before") && !forward;
	const links = [];
	if (!atEnd) {
		links.push(link("Latest", "first", address("log", { store, ...filter })));
	}
	if (!atEnd && events.length > 0) {
		links.push(link("← Newer", "prev", address("log", { store, ...filter, after: events[0].position })));
	}
	const low = forward && events.length > 0 ? events[events.length - 1].position : forward ? null : String(BigInt(answer.reached) + 1n);
	if (low !== null && BigInt(low) > 1n) {
		links.push(link(events.length < PAGE && !forward ? "Search further back →" : "Older →", "next", address("log", { store, ...filter, before: low })));
	}
	const note = events.length < PAGE && !forward && BigInt(low) > 1n
		? `Looked back to position ${number(low)}.` : events.length === 0 ? "No events." : "";

	let cursor = answer.horizon;
	const following = () => live.getAttribute("aria-pressed") === "true";
	function follow() {
		live.setAttribute("aria-pressed", String(!following()));
	}
	if (atEnd) {
		repeat(LIVE_MS, signal, tell, async () => {
			if (!following()) {
				return;
			}
			const news = await ask("log", { store, count: 200, ...filter, after: cursor });
			cursor = news.reached;
			remember(news.events);
			for (const event of news.events) {
				const item = row(store, event);
				item.classList.add("new");
				shown.prepend(item);
			}
			while (shown.childElementCount > LIVE_ROWS) {
				shown.lastElementChild.remove();
			}
		});
	}
	return [
		el("div", { class: "title" }, el("h1", {}, "Log"), el("span", { class: "meta" }, "settled up to position ", el("b", {}, number(answer.horizon))), atEnd ? live : null),
		filterForm(parameters), shown, note ? el("p", { class: "note" }, note) : null, pager(...links)];
}

// ---- one aggregate ----

export async function aggregate(parameters, signal, tell) {
	const store = parameters.get("store");
	const key = parameters.get("key") ?? "";
	const backwards = parameters.get("order") === "last";
	const answer = await ask("aggregate", { store, key, count: PAGE, from: parameters.get("from"), backwards: backwards ? "1" : "0" });
	const { events } = answer;
	const page = (from, order) => address("aggregate", { store, key, from, order });
	const order = backwards ? "last" : undefined;
	const links = [];

	remember(events);
	if (events.length > 0) {
		const version = BigInt(answer.version);
		const first = BigInt(events[0].version);
		const last = BigInt(events[events.length - 1].version);
		const back = backwards ? (first + BigInt(PAGE) < version ? first + BigInt(PAGE) : version) : (first - BigInt(PAGE) > 1n ? first - BigInt(PAGE) : 1n);

		if (backwards ? first < version : first > 1n) {
			links.push(link(backwards ? "← Newer" : "← Older", "prev", page(back, order)));
		}
		if (backwards ? last > 1n : last < version) {
			links.push(link(backwards ? "Older →" : "Newer →", "next", page(backwards ? last - 1n : last + 1n, order)));
		}
	}
	const shown = list(store, events, `Events of ${key}`);
	shown.classList.add("same-key");
	const current = shown.querySelector(".event");
	if (parameters.has("from") && current) {
		current.flip(true);
	}
	return [
		el("div", { class: "title" }, el("h1", { class: "keyname" }, key),
			el("span", { class: "meta" }, "version ", el("b", {}, number(answer.version)), ", category ",
				el("a", { href: address("log", { store, categories: answer.category }) }, answer.category)),
			el("span", { class: "order" },
				el("a", { href: page(undefined, undefined), "aria-current": backwards ? null : "true" }, "Oldest first"),
				el("a", { href: page(undefined, "last"), "aria-current": backwards ? "true" : null }, "Newest first"))),
		answer.version === "0" ? el("p", { class: "note" }, "There is no aggregate with this key in this store.") : shown, pager(...links)];
}

// ---- causes and effects ----

function branches(store, events, start) {
	const children = new Map();
	const ids = new Set(events.map((event) => event.id));
	const list_of = (roots) => el("ul", { class: "events branch" }, ...roots.map((event) => {
		const item = row(store, event, { here: event.position === start });
		const effects = children.get(event.id);

		// Ids are the writers': each is put in place once, whatever they say.
		children.delete(event.id);
		if (effects) {
			item.append(list_of(effects));
		}
		return item;
	}));
	const roots = [];

	for (const event of events) {
		const cause = event.causation_id;
		if (cause && cause !== event.id && ids.has(cause)) {
			children.set(cause, [...(children.get(cause) ?? []), event]);
		} else {
			roots.push(event);
		}
	}
	const tree = list_of(roots);
	// What is its own cause by a detour has no root.
	while (children.size > 0) {
		const [cause, rest] = children.entries().next().value;
		children.delete(cause);
		tree.append(...list_of(rest).children);
	}
	return tree;
}

export async function trace(parameters) {
	const store = parameters.get("store");
	const position = parameters.get("position");
	const span = Number(parameters.get("span") ?? 10000);
	const answer = await ask("trace", { store, position, span });

	remember(answer.events);
	const tree = branches(store, answer.events, answer.event.position);
	const further = answer.complete || span >= 65536 ? null
		: link("Look further", "next", address("trace", { store, position, span: Math.min(span * 4, 65536) }));
	return [
		el("div", { class: "title" }, el("h1", {}, "Trace"),
			el("span", { class: "meta" }, "correlation ", el("code", {}, answer.correlation), `, ${answer.events.length} ${answer.events.length === 1 ? "event" : "events"}`)),
		tree,
		el("p", { class: "note" }, `Looked at positions ${number(answer.from)} to ${number(answer.to)}.`
			+ (answer.cut ? " These are too many to show more." : "")),
		pager(...(further ? [further] : []))];
}

// ---- tables ----

// A name that begins with "#" is of a column of numbers.
function table(name, columns, rows) {
	const numbers = columns.map((column) => column.startsWith("#"));
	const cell = (content, i) => (content instanceof Element && content.matches("th, td") ? content
		: el(i === 0 && !numbers[0] ? "th" : "td", { scope: i === 0 && !numbers[0] ? "row" : null, class: numbers[i] ? "n" : null }, content));

	return el("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": name }, el("table", {},
		el("thead", {}, el("tr", {}, ...columns.map((column, i) => el("th", { scope: "col", class: numbers[i] ? "n" : null }, column.replace("#", ""))))),
		el("tbody", {}, ...rows.map((row) => el("tr", {}, ...row.map(cell))))));
}

// ---- subscriptions ----

function bar(part, whole) {
	const filled = el("i");

	filled.style.setProperty("--part", `${part === null ? 0 : BigInt(part) * 100n / whole}%`);
	return el("span", { class: "bar", "aria-hidden": "true" }, filled);
}

function subscriptionTable(answer) {
	const longest = answer.subscriptions.reduce((most, one) => (BigInt(one.lag ?? 0) > most ? BigInt(one.lag ?? 0) : most), 1n);

	if (answer.subscriptions.length === 0) {
		return el("p", { class: "note" }, "This store has no subscriptions.");
	}
	return table("Subscriptions", ["Subscription", "#Partition", "#Position", "#Lag", "#Waits for", "#Parked", "Claimed by", "#Advanced"],
		answer.subscriptions.map((one) => [one.subscription, String(one.partition), number(one.position),
			el("td", { class: "n lag" }, bar(one.lag, longest), el("span", {}, number(one.lag))),
			one.waiting_since ? age(one.waiting_since, answer.now) : "–",
			el("td", { class: one.parked === "0" ? "n" : "n warn" }, number(one.parked)),
			one.claimed_by ?? "–", one.advanced_at ? `${age(one.advanced_at, answer.now)} ago` : "never"]));
}

export async function subscriptions(parameters, signal, tell) {
	const store = parameters.get("store");
	const shown = el("div");
	const fill = async () => shown.replaceChildren(subscriptionTable(await ask("status", { store })));

	await fill();
	repeat(REFRESH_MS, signal, tell, fill);
	return [el("div", { class: "title" }, el("h1", {}, "Subscriptions")), shown,
		el("p", { class: "note" }, "Lag: positions behind the settled log. Waits for: the age of the first event in between, wanted or not.")];
}

// ---- what the store does ----

const CARDS = [
	["aggregates", "Aggregates", "estimated", number], ["events", "Events", "estimated", number], ["bytes", "Disk space", "tables and indexes", bytes],
	["last_position", "Last position", "drawn", number], ["horizon_lag", "Horizon lag", "positions not settled", number]];
const RATES = [
	["appends", "Appends", "those rolled back included"], ["conflicts", "Conflicts", "decide again: VE001, VE004"],
	["refusals", "Refusals", "VE002, VE003, VE005"], ["repeats", "Repeats", "known request ids"]];

function curve(rates) {
	const drawing = svg("svg", { viewBox: "0 0 120 28", preserveAspectRatio: "none", "aria-hidden": "true" });
	const most = Math.max(...rates, 0.001);

	drawing.append(svg("polyline", { points: rates.map((rate, i) => `${(i * 120 / 59).toFixed(1)},${(27 - rate / most * 25).toFixed(1)}`).join(" ") }));
	return drawing;
}

export async function activity(parameters, signal, tell) {
	const store = parameters.get("store");
	const cards = el("div", { class: "cards" });
	const rates = el("div", { class: "cards" });
	const flights = el("div");
	const history = Object.fromEntries(RATES.map(([name]) => [name, Array(60).fill(0)]));
	let before = null;

	const fill = async () => {
		const answer = await ask("status", { store });
		const now = new Date(answer.now.replace(" ", "T"));
		const { statistics } = answer;

		cards.replaceChildren(...CARDS.map(([name, label, note, format]) => el("div", { class: "card" },
			el("span", { class: "label" }, label), el("b", {}, statistics[name] === null ? "–" : format(statistics[name])), el("small", {}, note))));
		rates.replaceChildren(...RATES.map(([name, label, note]) => {
			const seconds = before ? (now - before.now) / 1000 : 0;
			const step = before && statistics[name] !== null ? Math.max(0, Number(statistics[name]) - Number(before.statistics[name])) : 0;
			const rate = seconds > 0 ? step / seconds : 0;

			history[name] = [...history[name], rate].slice(-60);
			return el("div", { class: `card rate ${name}` }, el("span", { class: "label" }, label), el("b", {}, number(statistics[name])),
				el("span", { class: "now" }, `${rate.toFixed(1)} /s`), curve(history[name]), el("small", {}, note));
		}));
		flights.replaceChildren(...inFlight(answer));
		before = { now, statistics };
	};

	await fill();
	repeat(REFRESH_MS, signal, tell, fill);
	return [el("div", { class: "title" }, el("h1", {}, "Activity")), cards,
		el("h2", {}, "Since the counters began, and now"), rates, el("h2", {}, "Open transactions that have appended"), flights];
}

function inFlight(answer) {
	if (answer.in_flight.length === 0) {
		return [el("p", { class: "note" }, "None: the log is settled to its end.")];
	}
	return [table("Open transactions", ["Role", "Application", "#Process", "#Open for", "#Holds back after", "State"],
		answer.in_flight.map((one) => [one.role ?? "–", one.application_name || "–", one.gid ?? String(one.pid ?? "–"),
			one.since ? age(one.since, answer.now) : "–", number(one.bound), one.state ?? (one.gid ? "prepared" : "–")]))];
}
