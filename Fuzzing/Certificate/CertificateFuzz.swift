import MartletNetwork
import MartletXMPP

private let alice = try? BareJID(parsing: "alice@verona.example")
/// 2027.
private let now = 1_800_000_000

/// A certificate that an account wants to add is fit or not, whatever it is; if it is, it is valid now and nothing comes behind it. A template for subjects is
/// what it says, or refused.
@_cdecl("LLVMFuzzerTestOneInput")
public func fuzzCertificate(_ start: UnsafePointer<UInt8>?, _ count: Int) -> CInt {
    let bytes = Array(UnsafeBufferPointer(start: start, count: count))
    readTemplate(String(decoding: bytes, as: UTF8.self))
    guard let alice else { preconditionFailure("no address") }
    let inspection = OwnCertificateInspection()
    guard let expiry = try? inspection.expiry(of: bytes, for: alice, at: Int64(now) * 1_000) else { return 0 }
    precondition(expiry >= Int64(now) * 1_000, "it has ended")
    precondition((try? inspection.expiry(of: bytes + [0], for: alice, at: Int64(now) * 1_000)) == nil, "something behind it is overlooked")
    precondition((try? inspection.expiry(of: Array(bytes.dropLast()), for: alice, at: Int64(now) * 1_000)) == nil, "half of it is enough")
    precondition(PeerCertificate.publicKey(in: bytes) != nil, "it has no key")
    return 0
}

private func readTemplate(_ text: String) {
    guard let template = try? SubjectTemplate(text) else { return }
    precondition(template.text == text, "it is another template")
    precondition((try? SubjectTemplate(template.text)) == template, "it cannot be read again")
}
