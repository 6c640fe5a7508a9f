// Package fakecloud emulates two or more OpenStack regions in one process:
// Keystone v3, Swift and Cinder over real HTTP on 127.0.0.1, with latency,
// bandwidth, scripted faults and request accounting.
//
// It behaves as Swift 2.30, Keystone 22 and Cinder 21.3 were seen to behave: stock rclone,
// python-swiftclient and openstackclient work against it, and the conformance
// suite runs on it and on a real Swift alike. Where they differ, this package
// is wrong. What is left out on purpose: container sync, the signatures of
// tempurl and formpost, bulk upload and the S3 API; /info advertises only what
// exists. Of Cinder, groups, transfers, images, retype and migration are left out,
// and Glance is there but empty.
package fakecloud
