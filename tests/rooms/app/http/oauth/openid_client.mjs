// Every flow driven by openid-client, which checks each of our answers. Reads JSON from stdin, prints JSON.
import { readFileSync } from "node:fs";
import * as oidc from "openid-client";

const given = JSON.parse(readFileSync(0, "utf8"));
const execute = [oidc.allowInsecureRequests];
const done = {};

async function configure(program, auth) {
  return oidc.discovery(new URL(given.issuer), program.id, program.metadata ?? {}, auth, { execute });
}

async function consent(url) {
  const headers = { cookie: given.cookie };
  const begun = await fetch(url, { headers, redirect: "manual" });
  if (begun.status !== 303) throw new Error(`authorize: ${begun.status} ${await begun.text()}`);
  const page = new URL(begun.headers.get("location"), given.issuer);
  if (page.origin !== new URL(given.issuer).origin) return page;
  const shown = await fetch(page, { headers, redirect: "manual" });
  if (shown.status === 303) return new URL(shown.headers.get("location"));
  const text = await shown.text();
  const csrf = /name="csrf" value="([0-9a-f]+)"/.exec(text);
  if (!csrf) throw new Error(`consent: ${shown.status} ${text}`);
  const sent = await fetch(page, {
    method: "POST",
    headers,
    body: new URLSearchParams({ csrf: csrf[1], choice: "allow" }),
    redirect: "manual",
  });
  return new URL(sent.headers.get("location"));
}

async function code(config, { handle, scope, pushed = false, extra = {} } = {}) {
  const verifier = oidc.randomPKCECodeVerifier();
  const state = oidc.randomState();
  const nonce = oidc.randomNonce();
  const parameters = {
    redirect_uri: given.back,
    scope,
    code_challenge: await oidc.calculatePKCECodeChallenge(verifier),
    code_challenge_method: "S256",
    state,
    nonce,
    max_age: "3000",
    ...extra,
  };
  const url = pushed
    ? await oidc.buildAuthorizationUrlWithPAR(config, parameters, { DPoP: handle })
    : oidc.buildAuthorizationUrl(config, parameters);
  return oidc.authorizationCodeGrant(
    config,
    await consent(url),
    { pkceCodeVerifier: verifier, expectedState: state, expectedNonce: nonce, maxAge: 3000, idTokenExpected: true },
    extra.resource ? { resource: extra.resource } : undefined,
    { DPoP: handle },
  );
}

const ALL = "openid profile offline_access sales:read";

{
  const config = await configure(given.web, oidc.ClientSecretBasic(given.web.secret));
  const tokens = await code(config, { scope: ALL });
  done.code = tokens.claims().sub;
  const person = await oidc.fetchUserInfo(config, tokens.access_token, tokens.claims().sub);
  done.userinfo = person.name;
  const next = await oidc.refreshTokenGrant(config, tokens.refresh_token);
  done.refresh = next.refresh_token !== tokens.refresh_token;
  const seen = await oidc.tokenIntrospection(config, next.access_token);
  done.introspection = seen.active;
  await oidc.tokenRevocation(config, next.refresh_token);
  done.revocation = (await oidc.tokenIntrospection(config, next.access_token)).active === false;
  const out = oidc.buildEndSessionUrl(config, { id_token_hint: tokens.id_token, post_logout_redirect_uri: given.bye });
  done.end_session_url = out.href;
}
{
  const config = await configure(given.web, oidc.ClientSecretPost(given.web.secret));
  const tokens = await code(config, { scope: ALL, pushed: true });
  done.pushed = tokens.claims().sub === done.code;
}
{
  const config = await configure(given.mobile, oidc.None());
  const handle = oidc.getDPoPHandle(config, await oidc.randomDPoPKeyPair("ES256"));
  const tokens = await code(config, { handle, scope: ALL, pushed: true });
  done.dpop_type = tokens.token_type;
  const next = await oidc.refreshTokenGrant(config, tokens.refresh_token, undefined, { DPoP: handle });
  const me = await oidc.fetchProtectedResource(
    config, next.access_token, new URL("/api/v1/me", given.issuer), "GET", undefined, undefined, { DPoP: handle },
  );
  done.dpop_call = me.status;
  const person = await oidc.fetchUserInfo(config, next.access_token, tokens.claims().sub, { DPoP: handle });
  done.dpop_userinfo = person.sub === tokens.claims().sub;
}
{
  const key = await crypto.subtle.importKey(
    "jwk", given.machine.key, { name: "ECDSA", namedCurve: "P-256" }, false, ["sign"],
  );
  const config = await configure(given.machine, oidc.PrivateKeyJwt({ key, kid: given.machine.key.kid }));
  const tokens = await oidc.clientCredentialsGrant(config, { scope: "sales:read" });
  const me = await oidc.fetchProtectedResource(
    config, tokens.access_token, new URL("/api/v1/me", given.issuer), "GET",
  );
  done.private_key_jwt = me.status;
  const web = await configure(given.web, oidc.ClientSecretBasic(given.web.secret));
  const first = await code(web, { scope: ALL });
  const passed = await oidc.genericGrantRequest(config, "urn:ietf:params:oauth:grant-type:token-exchange", {
    subject_token: first.access_token,
    subject_token_type: "urn:ietf:params:oauth:token-type:access_token",
    scope: "sales:read",
  });
  done.exchange = passed.scope;
  const aimed = await oidc.clientCredentialsGrant(config, { scope: "sales:read", resource: given.resource });
  done.resource = JSON.parse(Buffer.from(aimed.access_token.split(".")[1], "base64url")).aud;
}
{
  const config = await configure(given.television, oidc.None());
  const begun = await oidc.initiateDeviceAuthorization(config, { scope: ALL });
  const headers = { cookie: given.cookie };
  const page = new URL("/device", given.issuer);
  const csrf = /name="csrf" value="([0-9a-f]+)"/.exec(await (await fetch(page, { headers })).text())[1];
  const fields = { csrf, user_code: begun.user_code.toLowerCase(), choice: "allow" };
  const sent = await fetch(page, { method: "POST", headers, body: new URLSearchParams(fields) });
  if (!sent.ok) throw new Error(await sent.text());
  const tokens = await oidc.pollDeviceAuthorizationGrant(config, { ...begun, interval: 1 });
  done.device = tokens.claims().sub === done.code;
}
console.log(JSON.stringify(done));
