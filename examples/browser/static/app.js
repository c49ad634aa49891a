// Which page is shown, the header, and the keys.
import { address, ask, el } from "./dom.js";
import { fillList } from "./events.js";
import * as views from "./views.js";

const PAGES = ["log", "aggregate", "trace", "subscriptions", "activity"];
const main = document.getElementById("main");
const message = document.getElementById("message");
const storeField = document.getElementById("store");
const keyField = document.getElementById("key");

let page = null;		// ends what the page shown does in the background

function tell(text) {
	if (message.textContent !== text) {
		message.textContent = text;
	}
}

function route() {
	const [, name, query] = location.hash.match(/^#\/(\w+)\??(.*)$/) ?? [null, "log", ""];
	const parameters = new URLSearchParams(query);

	if (!parameters.has("store") && storeField.value) {
		parameters.set("store", storeField.value);
	}
	return { name: PAGES.includes(name) ? name : "log", parameters };
}

async function show() {
	const { name, parameters } = route();

	page?.abort();
	page = new AbortController();
	const { signal } = page;
	main.setAttribute("aria-busy", "true");
	tell("");
	for (const link of document.querySelectorAll("[data-page]")) {
		if (link.dataset.page === name) {
			link.setAttribute("aria-current", "page");
		} else {
			link.removeAttribute("aria-current");
		}
		link.href = address(link.dataset.page, { store: parameters.get("store") });
	}
	if (parameters.get("store") && [...storeField.options].some((option) => option.value === parameters.get("store"))) {
		storeField.value = parameters.get("store");
	}
	keyField.value = name === "aggregate" ? parameters.get("key") ?? "" : "";
	try {
		const content = await views[name](parameters, signal, tell);
		if (!signal.aborted) {
			main.replaceChildren(...content.filter(Boolean));
			scrollTo(0, 0);
			main.querySelector("[aria-current=true].event")?.scrollIntoView({ block: "center" });
			document.title = `${main.querySelector("h1").textContent} · events`;
		}
	} catch (error) {
		if (!signal.aborted) {
			main.replaceChildren(el("h1", {}, "That did not work"), el("p", { class: "error", role: "alert" }, error.message));
		}
	}
	if (!signal.aborted) {
		main.removeAttribute("aria-busy");
	}
}

// ---- the header ----

document.getElementById("go").addEventListener("submit", (submit) => {
	const text = keyField.value;
	const store = storeField.value;

	submit.preventDefault();
	if (text !== "") {
		location.hash = /^#\d+$/.test(text) ? address("trace", { store, position: text.slice(1) }) : address("aggregate", { store, key: text });
		main.focus();
	}
});
keyField.addEventListener("focus", () => fillList(document.getElementById("keys"), "keys"));
storeField.addEventListener("change", () => {
	const { name } = route();
	location.hash = address(["aggregate", "trace"].includes(name) ? "log" : name, { store: storeField.value });
});

const theme = document.getElementById("theme");
function dress(choice) {
	if (choice) {
		document.documentElement.dataset.theme = choice;
	}
}
dress(localStorage.getItem("theme"));
theme.addEventListener("click", () => {
	const dark = document.documentElement.dataset.theme
		? document.documentElement.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
	localStorage.setItem("theme", dark ? "light" : "dark");
	dress(localStorage.getItem("theme"));
});

const keyboard = document.getElementById("keyboard");
document.getElementById("help").addEventListener("click", () => keyboard.showModal());

// ---- keys ----

function chosen() {
	return document.activeElement?.closest(".event") ?? null;
}

function move(step) {
	const all = [...main.querySelectorAll(".event")];
	const now = all.indexOf(chosen());
	const next = all[now < 0 ? (step > 0 ? 0 : all.length - 1) : Math.min(Math.max(now + step, 0), all.length - 1)];

	next?.focus();
	next?.scrollIntoView({ block: "nearest" });
}

function openAll() {
	const all = [...main.querySelectorAll(".event")];
	const closed = all.some((item) => item.querySelector(".toggle").getAttribute("aria-expanded") === "false");

	all.forEach((item) => item.flip(closed));
	if (closed) {
		// What unfolds brings new branches.
		for (let folded = main.querySelectorAll(".branch:not([open])"), turn = 0; folded.length > 0 && turn < 8; turn++) {
			folded.forEach((branch) => { branch.open = true; branch.dispatchEvent(new Event("toggle")); });
			folded = main.querySelectorAll("details.branch:not([open])");
		}
	}
}

const KEYS = {
	"/": () => { keyField.focus(); keyField.select(); },
	"?": () => keyboard.showModal(),
	"1": () => document.querySelector("[data-page=log]").click(),
	"2": () => document.querySelector("[data-page=subscriptions]").click(),
	"3": () => document.querySelector("[data-page=activity]").click(),
	a: () => chosen()?.querySelector("a.key").click(),
	e: openAll,
	j: () => move(1),
	k: () => move(-1),
	l: () => main.querySelector(".live")?.click(),
	n: () => main.querySelector("a[rel=next]")?.click(),
	o: () => chosen()?.flip(),
	p: () => main.querySelector("a[rel=prev]")?.click(),
	t: () => {
		const item = chosen();
		if (item) {
			location.hash = address("trace", { store: storeField.value, position: item.dataset.position });
		}
	},
};

document.addEventListener("keydown", (press) => {
	if (press.key === "Escape" && press.target === keyField) {
		main.focus();
	}
	if (press.ctrlKey || press.altKey || press.metaKey || keyboard.open || press.target.closest("input, select, textarea")) {
		return;
	}
	if (Object.hasOwn(KEYS, press.key)) {
		press.preventDefault();
		KEYS[press.key]();
	}
});

// ---- begin ----

try {
	const { stores, current } = await ask("stores", {});
	storeField.replaceChildren(...stores.map((name) => el("option", {}, name)));
	storeField.value = route().parameters.get("store") ?? current ?? "";
	if (stores.length === 0) {
		throw new Error("No store that this role may read. Its owner can change that: SELECT es_grant('role', 'reader').");
	}
	addEventListener("hashchange", show);
	await show();
} catch (error) {
	main.replaceChildren(el("h1", {}, "That did not work"), el("p", { class: "error", role: "alert" }, error.message));
}
