// A vendor's authorisation server (npm oidc-provider): whoever comes is signed in and consents, and refresh tokens rotate.

import http from "node:http";
import Provider from "oidc-provider";

const [, , port, client, secret, ...redirects] = process.argv;
const used = { authorization_code: 0, refresh_token: 0 };
const provider = new Provider(`http://127.0.0.1:${port}`, {
  clients: [
    {
      client_id: client,
      client_secret: secret,
      redirect_uris: redirects,
      grant_types: ["authorization_code", "refresh_token"],
    },
  ],
  claims: { openid: ["sub"] },
  cookies: { keys: ["only in tests"] },
  features: { devInteractions: { enabled: false } },
  interactions: { url: (_, interaction) => `/interaction/${interaction.uid}` },
  pkce: { required: () => true },
  issueRefreshToken: () => true,
  rotateRefreshToken: true,
  ttl: { AccessToken: 1800, RefreshToken: 5184000, Grant: 5184000, Session: 600, Interaction: 600 },
  findAccount: (_, id) => ({ accountId: id, claims: () => ({ sub: id }) }),
  loadExistingGrant: async (ctx) => {
    const grant = new ctx.oidc.provider.Grant({ clientId: client, accountId: ctx.oidc.session.accountId });
    grant.addOIDCScope("openid");
    await grant.save();
    return grant;
  },
});
provider.on("grant.success", (ctx) => (used[ctx.oidc.params.grant_type] += 1));
const serve = provider.callback();
http
  .createServer(async (request, response) => {
    if (request.url.startsWith("/used")) return response.end(JSON.stringify(used));
    if (!request.url.startsWith("/interaction/")) return serve(request, response);
    await provider.interactionFinished(request, response, { login: { accountId: "ada" } });
  })
  .listen(Number(port), "127.0.0.1", () => console.log("ready"));
