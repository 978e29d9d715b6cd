import Crypto
import MartletXMPP
import NIOCore
import NIOHTTP1

/// XMPP over WebSocket (RFC 7395): the handshake (RFC 6455 §4.2).
struct WebSocketResource: WebResource {
    let methods = [HTTPMethod.GET]
    let bodyBytesMax = 0

    private static let version = "13"
    private static let keyBytes = 16

    func answer(_ request: WebRequest, on connection: WebConnection) {
        let headers = request.head.headers
        guard headers[canonicalForm: "Upgrade"].contains(where: { $0.lowercased() == "websocket" }),
            headers[canonicalForm: "Connection"].contains(where: { $0.lowercased() == "upgrade" }), request.head.method == .GET,
            request.head.version == .http1_1
        else { return connection.answer(WebAnswer(.upgradeRequired, "this is for WebSocket", ["Upgrade": "websocket", "Connection": "Upgrade"])) }
        guard headers["Sec-WebSocket-Version"] == [Self.version] else {
            return connection.answer(WebAnswer(.upgradeRequired, "version 13 is spoken here", ["Sec-WebSocket-Version": Self.version]))
        }
        let keys = headers["Sec-WebSocket-Key"]
        guard keys.count == 1, Base64.decode(keys[0])?.count == Self.keyBytes else {
            return connection.answer(WebAnswer(.badRequest, "a WebSocket has a key"))
        }
        guard headers[canonicalForm: "Sec-WebSocket-Protocol"].contains(where: { $0 == WebSocketFraming.subprotocol }) else {
            return connection.answer(WebAnswer(.badRequest, "the subprotocol xmpp is spoken here (RFC 7395)"))
        }
        guard request.isSecure || connection.listener.policy.allowsPlaintext else {
            return connection.answer(WebAnswer(.forbidden, "XMPP is spoken here with encryption only"))
        }
        connection.upgrade(request, accepting: Self.accept(keys[0]))
    }

    /// What shows that the key was read (RFC 6455 §4.2.2).
    static func accept(_ key: String) -> String {
        Base64.encode(Insecure.SHA1.hash(data: Array((key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11").utf8)))
    }
}
