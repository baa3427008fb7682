/** People chatting: two or more Chromium windows against one real broker. */

import assert from "node:assert/strict";
import { after, afterEach, before, test } from "node:test";

import { Broker } from "./broker.mjs";
import { becomes, launchChromium, PHONE, Window } from "./window.mjs";

const SCENARIO = { timeout: 120_000 };

let broker;
let browser;
let windows = [];

before(async () => {
  [broker, browser] = await Promise.all([Broker.start(), launchChromium()]);
}, SCENARIO);

after(async () => {
  await browser?.close();
  await broker?.stop();
});

afterEach(async () => {
  const complaints = windows.flatMap((window) => window.complaints);
  await Promise.all(windows.map((window) => window.close()));
  windows = [];
  assert.deepEqual(complaints, [], "the browser complained");
});

async function open(hash = "", device) {
  const window = await Window.open(browser, broker.url + hash, device);
  windows.push(window);
  return window;
}

/** Two people in one room, both seen by both. */
async function two(room, names = ["Ada", "Bo"], device) {
  const first = await open();
  await first.enter(names[0], room);
  await first.waitForMembers([names[0]]);
  const second = await open("", device);
  await second.enter(names[1], room);
  for (const window of [first, second]) await window.waitForMembers([...names]);
  return [first, second];
}

test("two windows in one room see both sides in order, with the right authors", SCENARIO, async () => {
  const [ada, bo] = await two("order");
  const expected = [];
  for (const [window, name, text] of [
    [ada, "Ada", "What news on the Rialto?"], [bo, "Bo", "Who is he comes here?"],
    [bo, "Bo", "two lines\nin one message"], [ada, "Ada", "Grüße, 日本, عربى"],
  ]) {
    await window.say(text);
    expected.push(`${name}: ${text}`);
    for (const each of [ada, bo]) await each.waitForMessages(expected);
  }
  assert.equal(await ada.page.locator(".message.is-own").count(), 2);
  assert.equal(await bo.page.locator(".message.is-own").count(), 2);
  assert.equal(await bo.composer.inputValue(), "");
  await ada.waitForText(".note", "Bo came in");
  await becomes(() => ada.page.locator("#chip-text").textContent().then((text) => / ms$/.test(text)), true);
  await ada.shoot("chat-desktop");
});

test("shift and enter makes a new line and sends nothing", SCENARIO, async () => {
  const [ada, bo] = await two("lines");
  await ada.composer.pressSequentially("one");
  await ada.composer.press("Shift+Enter");
  await ada.composer.pressSequentially("two");
  assert.equal(await ada.composer.inputValue(), "one\ntwo");
  await ada.composer.press("Enter");
  await bo.waitForMessages(["Ada: one\ntwo"]);
});

test("a taken name is reported, and another one can be chosen", SCENARIO, async () => {
  const ada = await open();
  await ada.enter("Ada", "names");
  await ada.waitForMembers(["Ada"]);
  const other = await open("#names");
  await other.enter("Ada", "names");
  await other.waitForText("#name-problem", "already taken");
  await other.shoot("name-taken");
  assert.equal(await other.composer.isVisible(), false);
  await other.page.getByLabel("Choose a name for #names").fill("x".repeat(33));
  await other.page.getByRole("button", { name: "Use name" }).click();
  await other.waitForText("#name-problem", "This name cannot be used");
  await other.page.getByLabel("Choose a name for #names").fill("Bo");
  await other.page.getByRole("button", { name: "Use name" }).click();
  for (const window of [ada, other]) await window.waitForMembers(["Ada", "Bo"]);
  await other.say("hello");
  await ada.waitForMessages(["Bo: hello"]);
});

test("a new name is announced and used from then on", SCENARIO, async () => {
  const [ada, bo] = await two("renaming");
  await ada.say("before");
  await bo.waitForMessages(["Ada: before"]);
  await ada.page.getByRole("button", { name: "Change your name" }).click();
  await ada.page.getByLabel("Your new name").fill("Bo");
  await ada.page.getByRole("button", { name: "Use name" }).click();
  await ada.waitForText("#name-problem", "already taken");
  await ada.page.getByLabel("Your new name").fill("Countess");
  await ada.page.getByRole("button", { name: "Use name" }).click();
  for (const window of [ada, bo]) await window.waitForMembers(["Bo", "Countess"]);
  await bo.waitForText(".note", "Ada is now Countess");
  await ada.say("after");
  await bo.waitForMessages(["Ada: before", "Countess: after"]);
});

test("who leaves the room or closes the window disappears from the members", SCENARIO, async () => {
  const [ada, bo] = await two("leaving");
  const cy = await open();
  await cy.enter("Cy", "leaving");
  await ada.waitForMembers(["Ada", "Bo", "Cy"]);
  await bo.page.getByRole("button", { name: "Leave this room" }).click();
  await ada.waitForMembers(["Ada", "Cy"]);
  await ada.waitForText(".note", "Bo left");
  await bo.page.locator("#welcome").waitFor();
  await cy.close();
  await ada.waitForMembers(["Ada"]);
});

test("markup typed by a person is shown as typed and never runs", SCENARIO, async () => {
  const hostile = ["<img src=x onerror=\"window.broken=1\">", "<script>window.broken=1</script>", "<b>&amp;</b>"];
  const [ada, bo] = await two("markup", ["<i>Ada</i>", "Bo"]);
  for (const text of hostile) {
    await ada.say(text);
    await bo.waitForText(".text", text);
  }
  for (const window of [ada, bo]) {
    await window.waitForMessages(hostile.map((text) => `<i>Ada</i>: ${text}`));
    const found = await window.page.evaluate(() => ({
      broken: window.broken,
      markup: document.querySelectorAll("#logs :is(img, script, i), .members i, #logs b:not(.author)").length,
    }));
    assert.deepEqual(found, { broken: undefined, markup: 0 });
  }
});

test("a message that is too long is kept and reported", SCENARIO, async () => {
  const [ada, bo] = await two("long");
  await ada.composer.fill("x".repeat(2003));
  await ada.waitForText("#composer-count", "2003 / 2000");
  await ada.composer.press("Enter");
  await ada.waitForText("#composer-problem", "Too long by 3 characters");
  assert.equal((await ada.composer.inputValue()).length, 2003);
  await ada.composer.fill("é".repeat(2000));
  await ada.composer.press("Enter");
  await bo.waitForMessages([`Ada: ${"é".repeat(2000)}`]);
});

test("what the broker refuses returns to the composer with the reason", SCENARIO, async () => {
  const [ada, bo] = await two("refusing");
  // The page itself would not send this; the broker must refuse it and the page must show that.
  await ada.page.evaluate(async () => {
    const { RialtoClient } = await import("/sdk/index.js");
    const publish = RialtoClient.prototype.publish;
    RialtoClient.prototype.publish = function (topic, data) {
      RialtoClient.prototype.publish = publish;
      return publish.call(this, topic, { text: data.text.repeat(500) });
    };
  });
  await ada.say("too long");
  await ada.waitForText("#composer-problem", "too long: 4000 characters");
  assert.equal(await ada.composer.inputValue(), "too long");
  await ada.say("short enough");
  await bo.waitForMessages(["Ada: short enough"]);
});

test("several rooms: unread counts, drafts of their own, and links", SCENARIO, async () => {
  const [ada, bo] = await two("first");
  await ada.composer.fill("draft of the first room");
  await ada.page.getByLabel("Open a room", { exact: true }).fill(" Second Room. ");
  await ada.waitForText("#add-room-hint", "#second-room");
  await ada.page.getByRole("button", { name: "Open this room" }).click();
  await ada.waitForMembers(["Ada"]);
  assert.equal(new URL(ada.page.url()).hash, "#second-room");
  assert.equal(await ada.composer.inputValue(), "");
  for (const text of ["one", "two"]) await bo.say(text);
  await ada.waitForText("[data-room=first] .badge", "2");
  await becomes(() => ada.page.title(), "(2) second-room · Rialto");
  await ada.page.locator("[data-room=first]").click();
  await ada.waitForMessages(["Bo: one", "Bo: two"]);
  await ada.waitForText(".divider-new", "New");
  assert.equal(await ada.composer.inputValue(), "draft of the first room");
  await becomes(() => ada.page.title(), "first · Rialto");
  await ada.page.goBack();
  await ada.waitForText("#room-title", "second-room");
  await ada.page.evaluate(() => (location.hash = "#third"));
  await ada.waitForText("#room-title", "third");
  await ada.waitForMembers(["Ada"]);
});

test("a returning visitor is back in the same rooms under the same name", SCENARIO, async () => {
  const [ada, bo] = await two("returning");
  await ada.page.reload();
  for (const window of [ada, bo]) await window.waitForMembers(["Ada", "Bo"]);
  await ada.say("back");
  await bo.waitForMessages(["Ada: back"]);
});

test("who reads older messages is not pulled away from them", SCENARIO, async () => {
  const [ada, bo] = await two("scrolling");
  const tall = Array.from({ length: 30 }, (_, line) => `line ${line}`).join("\n");
  for (const part of ["first", "second"]) await bo.say(`${part}\n${tall}`);
  await ada.waitForText(".text", "second");
  const scroller = ada.page.locator(".log:not([hidden]) .log-scroller");
  const fromEndPx = () => scroller.evaluate((node) => node.scrollHeight - node.clientHeight - node.scrollTop);
  await becomes(async () => (await fromEndPx()) < 2, true);
  await scroller.evaluate((node) => (node.scrollTop = 0));
  await ada.waitForText(".jump", "To the newest");
  await bo.say("news");
  await ada.waitForText(".jump", "1 new message");
  assert.equal(await scroller.evaluate((node) => node.scrollTop), 0);
  await ada.page.locator(".jump:visible").click();
  await becomes(async () => (await fromEndPx()) < 2, true);
});

test("the broker is killed and started again: both windows come back, draft and name included", SCENARIO, async () => {
  const [ada, bo] = await two("restart");
  await ada.say("before");
  await bo.waitForMessages(["Ada: before"]);
  // Bo may have it before Ada has the answer, and what was not answered would return to the draft.
  await ada.page.locator('#composer[aria-busy="false"]').waitFor();
  await ada.composer.fill("a draft");
  await broker.kill();
  for (const window of [ada, bo]) {
    await window.waitForText("#banner", "Trying again in", 40_000);
    assert.equal(await window.page.getByRole("button", { name: "Try now" }).isVisible(), true);
  }
  await ada.composer.press("End");
  await ada.composer.pressSequentially(", continued offline");
  await ada.composer.press("Enter");
  await ada.waitForText("#composer-problem", "Not connected");
  assert.equal(await ada.composer.inputValue(), "a draft, continued offline");
  await ada.shoot("reconnecting");
  await broker.launch();
  for (const window of [ada, bo]) {
    await window.waitForStatus("connected");
    await window.waitForMembers(["Ada", "Bo"]);
    assert.equal(await window.page.locator("#banner").isVisible(), false);
  }
  assert.equal(await ada.composer.inputValue(), "a draft, continued offline");
  assert.equal(await ada.page.locator("#composer-problem").textContent(), "");
  await ada.composer.press("Enter");
  await bo.waitForMessages(["Ada: before", "Ada: a draft, continued offline"]);
  await bo.say("welcome back");
  await ada.waitForMessages(["Ada: before", "Ada: a draft, continued offline", "Bo: welcome back"]);
  await bo.waitForText(".divider-hole", "may be missing");
  // The attempts in between cannot but fail, and the browser says so.
  for (const window of [ada, bo]) {
    window.complaints = window.complaints.filter((text) => !/^WebSocket connection to .* failed/.test(text));
  }
});

test("a name taken while away is asked for again, and comes back by itself once free", SCENARIO, async () => {
  const ada = await open();
  let isCut = false;
  const sockets = [];
  await ada.page.routeWebSocket("**/ws", (socket) => {
    if (isCut) return socket.close({ code: 1013 });
    const server = socket.connectToServer();
    sockets.push(socket, server);
  });
  await ada.page.reload();
  await ada.enter("Ada", "ghost");
  await ada.waitForMembers(["Ada"]);
  await ada.composer.fill("a draft");
  isCut = true;
  for (const socket of sockets) await socket.close({ code: 4004 });
  await ada.waitForStatus("disconnected");
  const other = await open();
  await other.enter("Ada", "ghost");
  await other.waitForMembers(["Ada"]);
  isCut = false;
  await ada.waitForText("#name-problem", "already taken", 40_000);
  assert.equal(await ada.page.getByLabel("Choose a name for #ghost").inputValue(), "Ada");
  await other.page.getByRole("button", { name: "Leave this room" }).click();
  await ada.waitForMembers(["Ada"]);
  assert.equal(await ada.composer.inputValue(), "a draft");
  await ada.composer.press("Enter");
  await ada.waitForMessages(["Ada: a draft"]);
});

test("an entry that fails says why and can be tried again", SCENARIO, async () => {
  const ada = await open();
  const failures = [
    { code: "plugin_failed", message: "trap" },
    { code: "rejected", message: "not here", detail: { kind: "not_present" } },
    { code: "rejected", message: "full", detail: { kind: "room_full" } },
  ];
  await ada.page.routeWebSocket("**/ws", (socket) => {
    const server = socket.connectToServer();
    socket.onMessage((text) => {
      const { id, type } = JSON.parse(text);
      const failure = type === "call" ? failures.shift() : undefined;
      if (failure) socket.send(JSON.stringify({ type: "error", id, ...failure }));
      else server.send(text);
    });
  });
  await ada.page.reload();
  await ada.enter("Ada", "stubborn");
  for (const words of ["The room stumbled", "lost track of you", "#stubborn is full"]) {
    await ada.waitForText("#notice", words);
    assert.equal(await ada.composer.isVisible(), false);
    await ada.page.getByRole("button", { name: "Try again" }).click();
  }
  await ada.waitForMembers(["Ada"]);
  assert.equal(await ada.page.locator("#notice").isVisible(), false);
  await ada.say("inside");
  await ada.waitForMessages(["Ada: inside"]);
});

test("a phone shows everything without scrolling sideways", SCENARIO, async () => {
  const [ada, phone] = await two("pocket", ["Ada", "Bo"], PHONE);
  await ada.say(`${"unbroken".repeat(40)} https://example.org/${"path/".repeat(40)}`);
  await phone.waitForText(".text", "unbroken");
  assert.equal(await phone.sidewaysPx(), 0, "chat");
  await phone.shoot("chat-phone");
  await phone.page.getByRole("button", { name: "Members", exact: true }).click();
  await phone.waitForText("#member-list", "Ada");
  assert.equal(await phone.sidewaysPx(), 0, "members");
  await phone.page.keyboard.press("Escape");
  await phone.page.getByRole("button", { name: "Rooms", exact: true }).click();
  await phone.page.getByRole("button", { name: "Change your name" }).click();
  await phone.page.getByLabel("Your new name").waitFor();
  assert.equal(await phone.sidewaysPx(), 0, "name");
  await phone.page.getByRole("button", { name: "Cancel" }).click();
  await phone.page.getByRole("button", { name: "Leave this room" }).click();
  await phone.page.locator("#welcome").waitFor();
  assert.equal(await phone.sidewaysPx(), 0, "first screen");
});

test("the page allows itself nothing but its own files", SCENARIO, async () => {
  const response = await fetch(broker.url);
  const policy = response.headers.get("content-security-policy") ?? "";
  assert.match(policy, /default-src 'self'/);
  assert.doesNotMatch(policy, /unsafe/);
});

test("a log keeps at most 500 lines", SCENARIO, async () => {
  const window = await open();
  const kept = await window.page.evaluate(async () => {
    const { Log } = await import("/web/log.js");
    const log = new Log("test");
    document.body.append(log.element);
    log.show();
    for (let count = 1; count <= 1200; count += 1) {
      log.add({ kind: "message", author: "Ada", text: String(count), time: Date.now() }, false, false);
    }
    const texts = [...log.element.querySelectorAll(".text")].map((node) => node.textContent);
    const isFirstNamed = !log.element.querySelector(".message").classList.contains("is-continued");
    log.element.remove();
    return { count: texts.length, first: texts[0], last: texts.at(-1), isFirstNamed };
  });
  assert.deepEqual(kept, { count: 500, first: "701", last: "1200", isFirstNamed: true });
});

test("what people type becomes a room name a topic can hold", SCENARIO, async () => {
  const window = await open();
  const typed = {
    Lobby: "lobby", "  Merchants of Venice ": "merchants-of-venice", "#news": "news", "a.b*c>d": "abcd",
    "tab\there": "tab-here", "Größe 日本": "größe-日本", "...": "", " - ": "", "\u0000\u200b": "",
    [`${"x".repeat(70)}`]: "x".repeat(60), "a -- b": "a-b",
  };
  const tokens = await window.page.evaluate(async (texts) => {
    const { roomToken } = await import("/web/token.js");
    return texts.map(roomToken);
  }, Object.keys(typed));
  assert.deepEqual(tokens, Object.values(typed));
});
