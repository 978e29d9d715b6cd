import MartletNetwork
import NIOCore

/// A client's hello means the same whatever comes behind it, and only all of it is one; what is not understood chooses no certificate.
@_cdecl("LLVMFuzzerTestOneInput")
public func fuzzClientHello(_ start: UnsafePointer<UInt8>?, _ count: Int) -> CInt {
    let bytes = Array(UnsafeBufferPointer(start: start, count: count))
    guard case .hello(let hello) = ClientHello.read(ByteBuffer(bytes: bytes)) else { return 0 }
    precondition(ClientHello.read(ByteBuffer(bytes: bytes + [22, 3, 1])) == .hello(hello), "what comes behind it changes it")
    // Record after record would do, but a hello is taken from one.
    let length = 5 + Int(bytes[3]) << 8 + Int(bytes[4])
    precondition(length <= count, "there is less than it says")
    precondition(ClientHello.read(ByteBuffer(bytes: bytes.prefix(length - 1))) == .incomplete, "half of it is enough")
    precondition(2 * hello.cipherSuites.count <= count && 2 * (hello.signatureAlgorithms?.count ?? 0) <= count, "more numbers than bytes")
    precondition(hello.takes(.rsa) && hello.takes(.other), "somebody gets no certificate at all")
    if hello.takes(.ecdsa(scheme: 0x0403)) { precondition(hello.signatureAlgorithms?.isEmpty == false, "it cannot verify anything") }
    return 0
}
