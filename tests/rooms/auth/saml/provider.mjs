// An identity provider by npm samlp. It signs in whoever the cookie `who` describes: base64url of JSON.
import { createServer } from "node:http";
import { readFileSync } from "node:fs";
import samlp from "samlp";

const [port, certificate, key] = process.argv.slice(2);
const base = `http://127.0.0.1:${port}`;
const common = { issuer: `${base}/entity`, cert: readFileSync(certificate), key: readFileSync(key) };

const shaped = (response) => {
  response.set = (name, value) => response.setHeader(name, value);
  response.send = (body) => response.end(body);
  return response;
};

const mapper = (person) => ({
  getClaims: () => person.claims,
  getNameIdentifier: () => ({
    nameIdentifier: person.subject,
    nameIdentifierFormat: person.format ?? "urn:oasis:names:tc:SAML:2.0:nameid-format:persistent",
  }),
});

createServer((request, response) => {
  const url = new URL(request.url, base);
  request.query = Object.fromEntries(url.searchParams);
  const failed = (error) => { response.statusCode = 500; response.end(String(error?.stack ?? error)); };
  if (url.pathname === "/metadata") {
    request.originalUrl = request.url;
    request.protocol = "http";
    samlp.metadata({ ...common, redirectEndpointPath: "/sso", postEndpointPath: "/sso" })(request, shaped(response), failed);
    return;
  }
  const who = /(?:^|; )who=([^;]*)/.exec(request.headers.cookie ?? "")?.[1] ?? "";
  const person = JSON.parse(Buffer.from(who, "base64url").toString());
  // Whoever names a certificate wants requests that are signed by its key.
  samlp.parseRequest(request, person.requestCertificate ? { signingCert: person.requestCertificate } : {}, (error, asked) => {
    if (error) return failed(error);
    const options = {
      ...common, inResponseTo: asked.id, recipient: asked.assertionConsumerServiceURL, destination: asked.assertionConsumerServiceURL,
      lifetimeInSeconds: 300, profileMapper: mapper, getUserFromRequest: () => person, signResponse: person.signResponse ?? false,
      authnContextClassRef: person.context, getPostURL: (audience, dom, req, callback) => callback(null, asked.assertionConsumerServiceURL),
    };
    samlp.auth(options)(request, shaped(response), failed);
  });
}).listen(Number(port), "127.0.0.1", () => console.log("ready"));
