// Passkeys: shows one to sign in or to prove oneself again, and makes one. The server checks everything.

const send = async (path, csrf, body) => {
  const headers = { "content-type": "application/json", ...(csrf && { "x-csrf-token": csrf }) };
  const answer = await fetch(path, { method: "POST", headers, body: JSON.stringify(body) });
  const told = await answer.json();
  if (answer.ok) return told;
  if (told.code === "step-up-needed") location.assign(`/step-up?next=${encodeURIComponent(location.pathname)}`);
  throw new Error([told.detail, told.fix].filter(Boolean).join(" "));
};

const show = async (asked) => {
  const publicKey = PublicKeyCredential.parseRequestOptionsFromJSON(JSON.parse(asked.options));
  return navigator.credentials.get({ publicKey });
};
const make = async (asked) => {
  const publicKey = PublicKeyCredential.parseCreationOptionsFromJSON(JSON.parse(asked.options));
  return navigator.credentials.create({ publicKey });
};

const run = async (button, said) => {
  const { passkey: path, csrf, next } = button.dataset;
  const name = button.form?.elements.namedItem("name")?.value;
  said.hidden = true;
  button.disabled = true;
  try {
    const asked = await send(`${path}/options`, csrf, {});
    const made = await (path === "/me/passkeys" ? make : show)(asked);
    const credential = JSON.stringify(made.toJSON());
    const body = { token: asked.token, credential, ...(next && { next }), ...(name && { name }) };
    location.assign((await send(path, csrf, body)).to);
  } catch (error) {
    const stopped = error.name === "NotAllowedError" || error.name === "AbortError";
    said.textContent = stopped ? "Nothing was shown: the device did not answer, or it was cancelled." : error.message;
    said.hidden = false;
    button.disabled = false;
  }
};

for (const button of document.querySelectorAll("[data-passkey]")) {
  const able = window.PublicKeyCredential?.parseRequestOptionsFromJSON && isSecureContext;
  button.hidden = !able;
  const said = document.getElementById(button.getAttribute("aria-describedby"));
  button.addEventListener("click", () => run(button, said));
}
