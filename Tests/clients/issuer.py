"""An authorization server on loopback, made of Authlib's and Flask's: it gives tokens for a user's password (RFC 6749 §4.3), which are signed (RFC 9068) or,
for the client `opaque`, mean nothing to anybody else; says what it is (RFC 8414) and what keys it has (RFC 7517); and is asked about tokens (RFC 7662), which
it also takes back (RFC 7009).

    issuer.py PORT FOLDER

FOLDER has its certificate and key, `issuer.pem` and `issuer.key`, and `keys.json`, the private keys of which it signs with the first; that file is read
each time. Nothing of it is shared with the server that is checked.
"""

import json
import pathlib
import sys
import time

from authlib.integrations.flask_oauth2 import AuthorizationServer
from authlib.oauth2.rfc6749 import ClientMixin, TokenMixin
from authlib.oauth2.rfc6749.grants import ResourceOwnerPasswordCredentialsGrant
from authlib.oauth2.rfc6750 import BearerTokenGenerator
from authlib.oauth2.rfc7009 import RevocationEndpoint
from authlib.oauth2.rfc7662 import IntrospectionEndpoint
from authlib.oauth2.rfc9068 import JWTBearerTokenGenerator
from authlib.common.security import generate_token
from flask import Flask, jsonify
from joserfc.jwk import KeySet

AUDIENCE = "xmpp.verona.test"
LIFETIME = 300  # seconds
CLIENTS = {"app": "app's secret", "opaque": "opaque's secret", "martlet": "m:rtlet's +secret"}
ALGORITHMS = {"EC": "ES256", "RSA": "RS256", "OKP": "Ed25519"}


class Client(ClientMixin):
    def __init__(self, name):
        self.name = name

    def get_client_id(self):
        return self.name

    def get_default_redirect_uri(self):
        return None

    def get_allowed_scope(self, scope):
        return scope

    def check_redirect_uri(self, redirect_uri):
        return False

    def check_client_secret(self, client_secret):
        return client_secret == CLIENTS[self.name]

    def check_endpoint_auth_method(self, method, endpoint):
        return method == "client_secret_basic"

    def check_response_type(self, response_type):
        return False

    def check_grant_type(self, grant_type):
        return grant_type == "password"


class User:
    def __init__(self, name):
        self.name = name

    def get_user_id(self):
        return f"number-of-{self.name}"


class Token(TokenMixin):
    def __init__(self, answer, request):
        self.text, self.scope = answer["access_token"], answer.get("scope", "")
        self.client, self.user, self.issued, self.is_taken_back = request.client, request.user, int(time.time()), False

    def check_client(self, client):
        return client.get_client_id() == self.client.get_client_id()

    def get_scope(self):
        return self.scope

    def get_expires_in(self):
        return LIFETIME

    def is_expired(self):
        return time.time() > self.issued + LIFETIME

    def is_revoked(self):
        return self.is_taken_back

    def get_user(self):
        return self.user

    def get_client(self):
        return self.client


def issuer(port, folder):
    """The application, and the context of its TLS."""
    app = Flask(__name__)
    name, tokens = f"https://127.0.0.1:{port}", {}

    def keys():
        return KeySet.import_key_set(json.loads((folder / "keys.json").read_text()))

    class Signed(JWTBearerTokenGenerator):
        def __init__(self):
            super().__init__(name, expires_generator=lambda client, grant_type: LIFETIME)

        def get_jwks(self):
            key = keys().keys[0]
            self.alg = ALGORITHMS[key.key_type]
            return key

        def access_token_generator(self, client, grant_type, user, scope):
            self.get_jwks()  # the algorithm is asked for before the key
            return super().access_token_generator(client, grant_type, user, scope)

        def get_audiences(self, client, user, scope):
            return [AUDIENCE, "mail.verona.test"]

        def get_extra_claims(self, client, grant_type, user, scope):
            return {"preferred_username": user.name}

    class Password(ResourceOwnerPasswordCredentialsGrant):
        TOKEN_ENDPOINT_AUTH_METHODS = ["client_secret_basic"]

        def authenticate_user(self, username, password):
            return User(username) if password == f"{username} at the issuer" else None

    class Introspection(IntrospectionEndpoint):
        CLIENT_AUTH_METHODS = ["client_secret_basic"]

        def check_permission(self, token, client, request):
            return client.get_client_id() == "martlet"

        def query_token(self, token_string, token_type_hint):
            return tokens.get(token_string)

        def introspect_token(self, token):
            return {
                "active": True, "client_id": token.client.get_client_id(), "token_type": "Bearer", "scope": token.scope, "sub": token.user.get_user_id(),
                "preferred_username": token.user.name, "aud": AUDIENCE, "iss": name, "exp": token.issued + LIFETIME, "iat": token.issued,
            }

    class Revocation(RevocationEndpoint):
        CLIENT_AUTH_METHODS = ["client_secret_basic"]

        def query_token(self, token_string, token_type_hint):
            return tokens.get(token_string)

        def revoke_token(self, token, request):
            token.is_taken_back = True

    def save(answer, request):
        tokens[answer["access_token"]] = Token(answer, request)

    server = AuthorizationServer(app, query_client=lambda client_id: Client(client_id) if client_id in CLIENTS else None, save_token=save)
    server.register_grant(Password)
    server.register_endpoint(Introspection)
    server.register_endpoint(Revocation)
    signed, opaque = Signed(), BearerTokenGenerator(lambda **_: generate_token(48), expires_generator=lambda client, grant_type: LIFETIME)

    def generate(grant_type, client, user=None, scope=None, expires_in=None, include_refresh_token=True):
        generator = opaque if client.get_client_id() == "opaque" else signed
        return generator(grant_type, client, user=user, scope=scope, expires_in=expires_in, include_refresh_token=False)

    server.register_token_generator("default", generate)

    @app.get("/.well-known/openid-configuration")
    def description():
        return jsonify(
            issuer=name, jwks_uri=f"{name}/keys", token_endpoint=f"{name}/token", introspection_endpoint=f"{name}/introspect",
            revocation_endpoint=f"{name}/revoke", response_types_supported=["code"], grant_types_supported=["password"])

    @app.get("/keys")
    def public_keys():
        return jsonify(keys().as_dict(private=False))

    @app.post("/token")
    def token():
        return server.create_token_response()

    @app.post("/introspect")
    def introspect():
        return server.create_endpoint_response("introspection")

    @app.post("/revoke")
    def revoke():
        return server.create_endpoint_response("revocation")

    return app


if __name__ == "__main__":
    port, folder = int(sys.argv[1]), pathlib.Path(sys.argv[2])
    issuer(port, folder).run("127.0.0.1", port, ssl_context=(str(folder / "issuer.pem"), str(folder / "issuer.key")), threaded=True)
