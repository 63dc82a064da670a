// An OpenID provider (npm oidc-provider) at which whoever the cookie `who` describes is signed in without a question.

import http from "node:http";
import Provider from "oidc-provider";

const [, , port, client, secret, redirect] = process.argv;
const issuer = `http://127.0.0.1:${port}`;
const people = new Map();
const provider = new Provider(issuer, {
  clients: [{ client_id: client, client_secret: secret, redirect_uris: [redirect] }],
  claims: { openid: ["sub"], email: ["email", "email_verified"], profile: ["name"] },
  cookies: { keys: ["only in tests"] },
  features: { devInteractions: { enabled: false } },
  interactions: { url: (_, interaction) => `/interaction/${interaction.uid}` },
  pkce: { required: () => true },
  findAccount: (_, id) => ({ accountId: id, claims: () => ({ sub: id, ...people.get(id) }) }),
  loadExistingGrant: async (ctx) => {
    const grant = new ctx.oidc.provider.Grant({ clientId: client, accountId: ctx.oidc.session.accountId });
    grant.addOIDCScope("openid profile email");
    await grant.save();
    return grant;
  },
});
const serve = provider.callback();
http.createServer(async (request, response) => {
  if (!request.url.startsWith("/interaction/")) return serve(request, response);
  const cookie = /who=([^;]+)/.exec(request.headers.cookie ?? "")?.[1] ?? "";
  const who = JSON.parse(Buffer.from(cookie, "base64url").toString());
  people.set(who.sub, who);
  await provider.interactionFinished(request, response, { login: { accountId: who.sub } });
}).listen(Number(port), "127.0.0.1", () => console.log("ready"));
