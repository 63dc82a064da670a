// The flows once more by oauth4webapi, whose checks are stricter still. Reads JSON from stdin, prints JSON.
import { readFileSync } from "node:fs";
import * as oauth from "oauth4webapi";

const given = JSON.parse(readFileSync(0, "utf8"));
const plain = { [oauth.allowInsecureRequests]: true };
const done = {};
const issuer = new URL(given.issuer);
const read = async (algorithm) =>
  oauth.processDiscoveryResponse(issuer, await oauth.discoveryRequest(issuer, { algorithm, ...plain }));
const as = await read("oidc");
done.same_discovery = JSON.stringify(as) === JSON.stringify(await read("oauth2"));

async function consent(url) {
  const headers = { cookie: given.cookie };
  const begun = await fetch(url, { headers, redirect: "manual" });
  const page = new URL(begun.headers.get("location"), issuer);
  if (page.origin !== issuer.origin) return page;
  const shown = await fetch(page, { headers, redirect: "manual" });
  if (shown.status === 303) return new URL(shown.headers.get("location"));
  const csrf = /name="csrf" value="([0-9a-f]+)"/.exec(await shown.text())[1];
  const body = new URLSearchParams({ csrf, choice: given.choice ?? "allow" });
  const sent = await fetch(page, { method: "POST", headers, body, redirect: "manual" });
  return new URL(sent.headers.get("location"));
}

const client = { client_id: given.web.id };
const auth = oauth.ClientSecretBasic(given.web.secret);
const keys = await oauth.generateKeyPair("ES256", { extractable: true });
const DPoP = oauth.DPoP(client, keys);
const verifier = oauth.generateRandomCodeVerifier();
const nonce = oauth.generateRandomNonce();
const state = oauth.generateRandomState();
const parameters = new URLSearchParams({
  client_id: client.client_id,
  redirect_uri: given.back,
  response_type: "code",
  scope: "openid offline_access sales:read",
  code_challenge: await oauth.calculatePKCECodeChallenge(verifier),
  code_challenge_method: "S256",
  nonce,
  state,
  prompt: "consent",
});
const pushed = await oauth.pushedAuthorizationRequest(as, client, auth, parameters, { DPoP, ...plain });
const { request_uri } = await oauth.processPushedAuthorizationResponse(as, client, pushed);
const url = new URL(as.authorization_endpoint);
url.search = new URLSearchParams({ client_id: client.client_id, request_uri }).toString();
const back = oauth.validateAuthResponse(as, client, await consent(url), state);
const answer = await oauth.authorizationCodeGrantRequest(as, client, auth, back, given.back, verifier, { DPoP, ...plain });
const tokens = await oauth.processAuthorizationCodeResponse(as, client, answer, {
  expectedNonce: nonce,
  requireIdToken: true,
});
await oauth.validateApplicationLevelSignature(as, answer, plain);
done.id_token = oauth.getValidatedIdTokenClaims(tokens).sub;
done.type = tokens.token_type;

const call = (target, options = {}) =>
  oauth.protectedResourceRequest(tokens.access_token, "GET", new URL(target, issuer), undefined, undefined, {
    ...plain,
    ...options,
  });
done.bound = (await call("/api/v1/me", { DPoP })).status;
try {
  done.downgraded = (await call("/api/v1/me")).status;
} catch (error) {
  done.downgraded = error.cause?.[0]?.parameters?.error ?? String(error);
}
const proofed = await call("/api/v1/me", { DPoP });
done.jwt_at = proofed.status;
const claims = await oauth.validateJwtAccessToken(
  as, new Request("http://x/", { headers: { authorization: `Bearer ${given.bearer}` } }), given.issuer, plain,
);
done.rfc9068 = claims.client_id === given.bearer_client;

const info = await oauth.userInfoRequest(as, client, tokens.access_token, { DPoP, ...plain });
done.userinfo = (await oauth.processUserInfoResponse(as, client, done.id_token, info)).sub;
const refreshed = await oauth.refreshTokenGrantRequest(as, client, auth, tokens.refresh_token, { DPoP, ...plain });
const next = await oauth.processRefreshTokenResponse(as, client, refreshed);
done.refreshed = next.refresh_token !== tokens.refresh_token;
const revoked = await oauth.revocationRequest(as, client, auth, next.refresh_token, plain);
await oauth.processRevocationResponse(revoked);
const seen = await oauth.introspectionRequest(as, client, auth, next.access_token, plain);
done.active = (await oauth.processIntrospectionResponse(as, client, seen)).active;
console.log(JSON.stringify(done));
