"use strict";
// The page works without this: it checks what is typed, computes the commission, sends each
// form once, and looks whether the payment goes on.

const field = (id) => document.getElementById(id);

function mark(input, wrong) {
	const said = field(input.id + "-wrong");
	if (said.textContent !== wrong) said.textContent = wrong;
	if (wrong) input.setAttribute("aria-invalid", "true");
	else input.removeAttribute("aria-invalid");
	return !wrong;
}

// A page that the browser took out of its memory has a form that was sent already, and no
// browser is to fill in again what was typed of a card.
const forget = () => { if (field("card")) field("card").reset(); };
forget();
window.addEventListener("pagehide", forget);
window.addEventListener("pageshow", (e) => { forget(); if (e.persisted) location.reload(); });

let leaving = false; // a form was sent: its answer is the next page, whatever else goes on
for (const form of document.querySelectorAll("form[data-once]")) {
	form.addEventListener("submit", (e) => {
		if (form.dataset.sent) { e.preventDefault(); return; }
		if (e.defaultPrevented) return;
		form.dataset.sent = "yes";
		leaving = true;
		for (const button of document.querySelectorAll("form[data-once] button")) button.disabled = true;
		const pressed = form.querySelector("button");
		pressed.setAttribute("aria-busy", "true");
		pressed.textContent = pressed.dataset.busy;
	});
}

const card = field("card");
if (card) {
	const number = field("number"), expiry = field("expiry"), code = field("code"), brand = field("brand");
	const digits = (text) => text.replace(/[\s-]/g, "");
	const brands = [
		["Visa", /^4/], ["Mastercard", /^(5[1-5]|222[1-9]|22[3-9]|2[3-6]|27[01]|2720)/], ["American Express", /^3[47]/],
		["Maestro", /^(50|5[6-9]|6[0-35-9])/], ["ПРОСТІР", /^9804/],
	];
	const luhn = (text) => {
		let sum = 0;
		for (let i = 0; i < text.length; i++) {
			let d = Number(text[text.length - 1 - i]);
			if (i % 2) d = d * 2 > 9 ? d * 2 - 9 : d * 2;
			sum += d;
		}
		return sum % 10 === 0;
	};
	const isAmex = () => /^3[47]/.test(digits(number.value));
	const checks = new Map([
		[number, () => {
			const typed = digits(number.value);
			return /^[0-9]{12,19}$/.test(typed) && luhn(typed) ? "" : card.dataset.numberWrong;
		}],
		[expiry, () => {
			const typed = /^(0[1-9]|1[0-2])\/?(?:20)?([0-9]{2})$/.exec(expiry.value.replace(/\s/g, ""));
			if (!typed) return card.dataset.expiryWrong;
			const now = new Date(), month = 2000 * 12 + Number(typed[2]) * 12 + Number(typed[1]) - 1;
			return month < now.getFullYear() * 12 + now.getMonth() ? card.dataset.expiredWrong : "";
		}],
		[code, () => new RegExp(isAmex() ? "^[0-9]{4}$" : "^[0-9]{3}$").test(code.value) ? "" : card.dataset.codeWrong],
	]);
	card.noValidate = true; // these checks speak the page's language
	number.addEventListener("input", () => {
		const typed = digits(number.value), known = brands.find(([, begins]) => begins.test(typed));
		brand.textContent = known ? known[0] : "";
		if (number.selectionEnd === number.value.length) number.value = typed.replace(/(.{4})(?=.)/g, "$1 ");
	});
	expiry.addEventListener("input", (e) => {
		if (e.inputType && e.inputType.startsWith("insert") && /^[0-9]{2}$/.test(expiry.value)) expiry.value += "/";
	});
	for (const [input, check] of checks) {
		// As soon as something is whole it is judged; what is still being typed is not, unless it was wrong before.
		input.addEventListener("input", () => {
			const whole = input === number ? digits(number.value).length >= 16 : input === expiry ? expiry.value.length >= 5 : code.value.length >= 3 + isAmex();
			if (whole || input.hasAttribute("aria-invalid")) mark(input, check());
		});
		input.addEventListener("change", () => { if (input.value) mark(input, check()); });
	}
	card.addEventListener("submit", (e) => {
		let first = null;
		for (const [input, check] of checks) if (!mark(input, check()) && !first) first = input;
		if (first) { e.preventDefault(); e.stopImmediatePropagation(); first.focus(); }
	}, true);
}

const open = field("open-amount");
if (open) {
	const amount = field("amount"), computed = field("computed");
	const ukrainian = document.documentElement.lang === "uk";
	const minor = () => {
		const typed = /^([0-9]{1,12})(?:[.,]([0-9]{1,2}))?$/.exec(amount.value.replace(/\s/g, ""));
		return typed ? BigInt(typed[1]) * 100n + BigInt((typed[2] || "").padEnd(2, "0")) : 0n;
	};
	const shown = (m) => {
		const whole = (m / 100n).toString().replace(/\B(?=([0-9]{3})+$)/g, ukrainian ? "\u00a0" : ",");
		return whole + (ukrainian ? "," : ".") + (m % 100n).toString().padStart(2, "0") + (ukrainian ? "\u00a0грн" : "\u00a0UAH");
	};
	const compute = () => {
		const m = minor();
		computed.hidden = m === 0n;
		if (m === 0n) return;
		mark(amount, "");
		const commission = (m * BigInt(open.dataset.millipercents) + 50000n) / 100000n + BigInt(open.dataset.fixed);
		field("commission").textContent = shown(commission);
		field("total").textContent = shown(m + commission);
	};
	open.noValidate = true;
	amount.addEventListener("input", compute);
	open.addEventListener("submit", (e) => {
		if (minor() === 0n) { mark(amount, amount.dataset.wrong); e.preventDefault(); amount.focus(); }
	});
	compute();
}

// To the bank at once; but only once, so that who comes back is not sent away again.
const bank = field("bank");
if (bank && bank.dataset.auto && !sessionStorage.getItem("bank/" + bank.dataset.auto)) {
	sessionStorage.setItem("bank/" + bank.dataset.auto, "sent");
	bank.requestSubmit();
}

const { watch, state, refresh, refreshTo } = document.body.dataset;
if (refresh) {
	setTimeout(() => { if (refreshTo) location.replace(refreshTo); else location.reload(); }, refresh * 1000);
}
if (watch) {
	let asked = 0;
	const ask = async () => {
		if (leaving) return;
		try {
			const answer = await fetch(watch, { cache: "no-store" });
			if (answer.ok && (await answer.json()).state !== state && !leaving) { location.reload(); return; }
		} catch { /* no network: it comes back, or the payer does */ }
		setTimeout(ask, ++asked < 30 ? 700 : 5000);
	};
	setTimeout(ask, 500);
}
