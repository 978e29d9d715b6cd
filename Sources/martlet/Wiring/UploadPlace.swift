import Logging
import MartletCore
import MartletNetwork
import MartletStorage
import NIOCore
import NIOSSL

extension ServerConfiguration {
    /// Where the bytes of uploaded files are, as the operator wants it.
    ///
    /// - Throws: ``CommandFailure``: what it takes to reach them cannot be read.
    func fileStore(_ time: any TimeSource, _ log: Logger) throws(CommandFailure) -> any FileStore {
        guard uploads.store == .s3 else { return FolderFileStore(folder: uploadFolder) }
        let s3 = uploads.s3
        guard let endpoint = s3.endpoint.flatMap({ HTTPURL($0) }), let name = s3.bucket, let key = s3.accessKey, let file = s3.secretKeyFile else {
            throw CommandFailure(.configuration, "uploads.s3 is not complete", hint: "run 'martlet config check'")
        }
        var bucket = S3Bucket(endpoint: endpoint, name: name, accessKey: key, secret: try SecretFile.read(file))
        bucket.region = s3.region
        bucket.isInPath = s3.pathStyle
        bucket.prefix = s3.prefix.map { "\($0)/" } ?? ""
        let trustRoots = s3.trustAnchors.map { NIOSSLTrustRoots.file($0) } ?? .default
        return S3FileStore(bucket, trustRoots: trustRoots, patience: TimeAmount(s3.timeout), time: time, log: log)
    }
}
